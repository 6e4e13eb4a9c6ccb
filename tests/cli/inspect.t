# inspect: the header only, what is eligible, and why not.
. "$LIB"

run inspect "$digits/digits.safetensors"
expect_status 0
expect_no_stderr
expect_stdout_has 'safetensors, 6 tensors, 3 eligible'
expect_stdout_has 'rank 1: no matrix'
expect_stdout_has 'the last axis'
grep -q '^fc1.weight  *128x64  *f32 .*eligible' .stdout || fail "expected fc1.weight to be eligible"
run prune "$digits/digits.safetensors" -o d.s24 -q --dtype f16
run inspect d.s24
expect_status 0
expect_stdout_has 's24, 6 tensors, 3 pruned'
grep -q '^fc1.weight  *128x64  *f32  *f16  *1 .*pruned' .stdout || fail "expected fc1.weight to be pruned"

# what prune would do with these options
run inspect "$digits/digits.safetensors" -x 'fc2*' --axis 'fc1*=0'
expect_status 0
expect_stdout_has 'excluded by fc2*'
expect_stdout_has 'axis 0: given'

run inspect d.s24 "$digits/digits.safetensors" --json
expect_status 0
expect_stdout_has '{"schema": "s24.inspect/1", "version": "'
expect_stdout_has '"status":"pruned"'
expect_stdout_has '"status":"eligible"'
expect_stdout_has '"status":"dense","reason":"rank 1: no matrix"'
if command -v python3 >/dev/null; then
    python3 -m json.tool .stdout >/dev/null || fail "expected valid JSON"
fi

# convolutions
noise 2304 >c.raw
run inspect c.raw --from raw --raw-dtype f32 --shape 8,8,3,3
expect_status 0
expect_stdout_has 'axis 1: input channels of a convolution'

# only the header is read: a file whose data are damaged is inspected all the same
printf '\377' | dd of=d.s24 bs=1 seek=9000 conv=notrunc 2>/dev/null
run inspect d.s24
expect_status 0

# one that fails does not stop the others
run inspect missing.npy "$digits/fc1.bias.npy" --json
expect_status 4
expect_stdout_has '"format": "npy"'
if command -v python3 >/dev/null; then
    python3 -m json.tool .stdout >/dev/null || fail "expected valid JSON"
fi
