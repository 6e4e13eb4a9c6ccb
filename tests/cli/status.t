# Every exit status, and which one wins when several inputs fail.
. "$LIB"

f32 1 2 3 4 | npy good.npy '<f4' '(1, 4)'
f32 1 2 | npy odd.npy '<f4' '(1, 2)'
echo nonsense >bad.npy
run prune good.npy -q
expect_status 0

# 0
run stats good.s24
expect_status 0
# 1
run verify good.npy
expect_status 1
run stats good.s24 --fail-if 'pruned_count>=2'
expect_status 1
# 2
run stats
expect_status 2
# 3
run stats bad.npy
expect_status 3
# 4
run stats missing.npy
expect_status 4
expect_error missing.npy 'No such file'
# 5
run prune good.npy -x '*' -f
expect_status 5

# 4 before 3 before 1 before 5 before 0
run verify good.npy good.s24
expect_status 1
run verify good.npy bad.npy good.s24
expect_status 3
run verify bad.npy missing.npy good.npy
expect_status 4
run verify missing.npy bad.npy good.npy
expect_status 4
run stats bad.npy good.s24 --fail-if 'pruned_count>=2'
expect_status 3
run stats good.s24 bad.npy --fail-if 'pruned_count>=2'
expect_status 3
echo '{"v":[1,2,3,4]}' >nothing.json
run prune nothing.json good.npy -o out -q
expect_status 5
expect_only out good.s24
run prune nothing.json bad.npy good.npy -f -o out -q
expect_status 3
run prune nothing.json bad.npy missing.npy good.npy -f -o out -q
expect_status 4

# every failure is told, each in its line, and the rest is done
run stats missing1.npy bad.npy missing2.npy good.s24
expect_status 4
expect_stderr_has 's24: missing1.npy: '
expect_stderr_has 's24: bad.npy: '
expect_stderr_has 's24: missing2.npy: '
[ "$(wc -l <.stderr)" -eq 3 ] || fail "expected three lines on stderr"
expect_stdout_has good.s24

# directories
mkdir directory
for command in prune stats inspect verify; do
    run $command directory
    expect_status 3
    expect_error directory 'has no .safetensors and no .s24 files'
done
run decompress directory -o x.npy
expect_status 3
expect_error directory 'has no .safetensors and no .s24 files'
run inspect directory --from npy
expect_status 3
run prune good.npy -o no/such/out.s24
expect_status 4
expect_error no/such/out.s24
run prune good.npy odd.npy -o no/such
expect_status 4
expect_error no/such
run decompress good.s24 -o directory
expect_status 4
expect_error directory

# a .s24 is pruned already
run prune good.s24 -o again.s24
expect_status 2
expect_error good.s24
run decompress good.npy -o x.npy
expect_status 3
expect_error good.npy

# damage: a failed check for verify, bad input for the others
run prune "$digits/fc1.weight.npy" -o hurt.s24 -q
printf '\377' | dd of=hurt.s24 bs=1 seek=5000 conv=notrunc 2>/dev/null
run verify hurt.s24
expect_status 1
expect_stdout_has hurt.s24
run decompress hurt.s24 -o x.npy
expect_status 3
expect_error hurt.s24
expect_no_file x.npy
head -c 3000 hurt.s24 >cut.s24
run verify cut.s24
expect_status 1
run stats cut.s24
expect_status 3
