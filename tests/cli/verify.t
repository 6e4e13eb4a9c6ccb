# verify: faults are results, with file, tensor, row and group.
. "$LIB"

cp "$digits/digits.safetensors" d.safetensors
run prune d.safetensors -q
run verify d.s24
expect_status 0
expect_no_stdout
expect_no_stderr
run verify d.s24 -v
expect_status 0
expect_stdout 'd.s24: ok'

# dense files
run verify d.safetensors
expect_status 1
[ "$(wc -l <.stdout)" -eq 3 ] || fail "expected three lines on stdout"
expect_stdout_line 'd.safetensors: fc1.weight: row 0, group 0: 4 of 4 elements are not zero; 2048 of 2048 groups are not 2:4'
expect_error '3 tensors were not checked'
run verify d.safetensors -v
expect_status 1
expect_stderr_has 'fc1.bias: not checked: rank 1: no matrix'
run verify d.safetensors -q
expect_status 1
expect_no_stdout
expect_no_stderr
run decompress d.s24 -o sparse.safetensors
run verify sparse.safetensors
expect_status 0
expect_no_stdout
run verify sparse.safetensors -q
expect_status 0
expect_no_stderr

# the group that is named is the first that breaks the rule; -0.0 is zero
echo '[[1,2,0,0, 0,0,0,0],[1,0,0,2, -0.0,3,4,5]]' >w.json
run verify w.json
expect_status 1
expect_stdout 'w.json: row 1, group 1: 3 of 4 elements are not zero; 1 of 4 groups is not 2:4'
echo '[[1,2,0,0],[1,-0.0,0,2]]' >w.json
run verify w.json
expect_status 0
echo '[[1,2,0,0, 1,2,3],[1,2,3,0, 0,0,1]]' >w.json # the end of a row is a shorter group
run verify w.json
expect_status 1
expect_stdout 'w.json: row 0, group 1: 3 of 3 elements are not zero; 2 of 4 groups are not 2:4'

# One line a tensor, the first group of all, and all that break the rule: in panels far behind one another, in rows that
# are longer than a panel, along an axis that is transposed; the same for every number of threads and instruction set.
hit() # ROW COL...: elements of big.raw that are not zero
{
    row=$1
    shift
    for col; do
        printf '\200' | dd of=big.raw bs=1 seek=$((300000 * row + col)) conv=notrunc 2>/dev/null
    done
}
head -c 2400000 /dev/zero >big.raw
hit 1 280000 280001 280002
hit 1 280004 280005 280006 280007
hit 6 0 1 2
hit 4 200000
hit 5 200000
hit 7 200000 8 9
hit 5 9
hit 6 9
hit 4 9
for how in '-T 1' '-T 2' '-T 5' '--isa generic' '--isa avx2'; do
    # shellcheck disable=SC2086 # two words
    run verify big.raw --from raw --raw-dtype i8 --shape 8,300000 $how
    expect_status 1
    expect_stdout 'big.raw: row 1, group 70000: 3 of 4 elements are not zero; 3 of 600000 groups are not 2:4'
    # shellcheck disable=SC2086
    run verify big.raw --from raw --raw-dtype i8 --shape 8,300000 --axis 0 $how
    expect_status 1
    expect_stdout 'big.raw: row 9, group 1: 4 of 4 elements are not zero; 2 of 600000 groups are not 2:4'
done
run verify - --from raw --raw-dtype i8 --shape 8,300000 --axis 0 <big.raw
expect_status 1
expect_stdout_has 'row 9, group 1: 4 of 4 elements are not zero; 2 of 600000 groups are not 2:4'
# shellcheck disable=SC2002 # a pipe, not a file
cat big.raw | "$S24" verify - --from raw --raw-dtype i8 --shape 8,300000 >piped
grep -q 'row 1, group 70000: 3 of 4 elements are not zero; 3 of 600000 groups' piped || fail "expected the same of a pipe"
f32 nan 1 0 nan >nan.raw
run verify nan.raw --from raw --raw-dtype f32 --shape 1,4
expect_status 1
expect_stdout 'nan.raw: row 0, group 0: 3 of 4 elements are not zero; 1 of 1 group is not 2:4'

# along which axis, of which tensors
echo '[[1,1,0,0],[2,0,2,0],[0,3,3,0],[0,0,0,4]]' >w.json
run verify w.json
expect_status 0
run verify w.json --axis 0
expect_status 0
echo '[[1,1,0,0],[1,2,2,2]]' >w.json
run verify w.json --axis 0
expect_status 0
run verify w.json --axis -1
expect_status 1
echo '{"a":[[1,2,3,4]],"b":[[1,2,0,0]]}' >m.json
run verify m.json
expect_status 1
expect_stdout_has 'm.json: a: row 0, group 0'
run verify m.json -x a -v
expect_status 0
expect_stderr_has 'a: not checked: excluded by a'
run verify m.json --include zzz
expect_status 2
f32 1 2 3 4 >w.raw
run verify w.raw --from raw --raw-dtype f32 --shape 4
expect_status 1

# damage, of whatever kind
cp d.s24 hurt.s24
printf '\377' | dd of=hurt.s24 bs=1 seek=9000 conv=notrunc 2>/dev/null
run verify hurt.s24
expect_status 1
expect_no_stderr
expect_stdout_has 'hurt.s24: '
head -c 20000 d.s24 >cut.s24
run verify cut.s24
expect_status 1
(cat d.s24 && echo x) >long.s24
run verify long.s24
expect_status 1

# what is no known file at all
noise 200 >noise
run verify noise
expect_status 3
expect_error noise
run verify noise d.s24 missing
expect_status 4

# JSON
run verify d.s24 d.safetensors noise --json
expect_status 3
expect_stdout_has '{"schema": "s24.verify/1", "version": "'
expect_stdout_has '{"path":"d.s24","ok":true,"faults":[],"skipped":[]}'
expect_stdout_has '{"path":"d.safetensors","ok":false,"faults":[{"file":null,"tensor":"fc1.weight","row":0,"group":0,"broken_groups":2048,"groups":2048,"message":"'
expect_stdout_has '"skipped":[{"name":"fc1.bias","reason":"rank 1: no matrix"}'
expect_stdout_has '{"path":"noise","ok":false,"faults":[{"file":null,"tensor":null,"row":null,"group":null,"broken_groups":null,"groups":null,"message":"'
if command -v python3 >/dev/null; then
    python3 -m json.tool .stdout >/dev/null || fail "expected valid JSON"
fi
