# inspect: the header only, what is eligible, and why not.
. "$LIB"

run inspect "$digits/digits.safetensors"
expect_status 0
expect_no_stderr
expect_stdout_has 'safetensors, 6 tensors, 3 eligible, 68.9 kB'
expect_stdout_has 'rank 1: no matrix'
expect_stdout_has 'the last axis'
grep -q '^fc1.weight  *128x64  *f32 .*eligible' .stdout || fail "expected fc1.weight to be eligible"
run prune "$digits/digits.safetensors" -o d.s24 -q --dtype f16
run inspect d.s24
expect_status 0
expect_stdout_has 's24, 6 tensors, 3 pruned, 20.0 kB, 68.9 kB dense'
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

# Which hardware takes what is or would be pruned, as it is or would be stored.
run inspect "$digits/digits.safetensors"
grep -q '^fc1.weight .*eligible  asp       the last axis$' .stdout || fail "expected asp alone to take fc1.weight"
grep -q '^fc3.weight .*eligible  -         the last axis$' .stdout || fail "expected nobody to take fc3.weight"
grep -q '^fc1.bias .*dense               rank 1: no matrix$' .stdout || fail "expected no hardware for fc1.bias"
run inspect d.s24
grep -q '^fc1.weight .*pruned  asp,cusparselt,cutlass  the last axis$' .stdout || fail "expected three takers of fc1.weight"
run inspect d.s24 --json
expect_stdout_has '"hardware":["asp","cusparselt","cutlass"],"hardware_reasons":{"tensorrt":"no gain below about 256 input channels"}}'
expect_stdout_has '"bytes_stored":512,"bits_per_element":32,"layout":null,"file":null,"hardware":null,"hardware_reasons":null}'
expect_stdout_has '"hardware":[],"hardware_reasons":{"asp":"rows are no multiple of 8",'
run inspect "$digits/digits.safetensors" --json --axis 'fc1.*=0'
expect_stdout_has '"hardware":[],"hardware_reasons":{"asp":"only along axis 1","cusparselt":"f32 is 1:2 on sparse Tensor Cores, not 2:4",'
head -c 73728 /dev/zero >c.raw
run inspect c.raw --from raw --raw-dtype i8 --shape 32,256,3,3
expect_stdout_has 'tensorrt'
expect_stdout_lacks 'asp'

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
