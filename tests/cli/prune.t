# prune: from every type of input, with the names of outputs that nobody gave.
. "$LIB"

# the digits network, one matrix
cp "$digits/fc1.weight.npy" .
run prune fc1.weight.npy
expect_status 0
expect_no_stdout
expect_stderr_has 'fc1.weight.npy -> fc1.weight.s24'
expect_stderr_has 'approximation_error'
expect_stderr_has 'kept_magnitude_mean'
expect_stderr_has 'pruned_magnitude_mean'
expect_stderr_has '4096 of 8192'
expect_stderr_has 'relative_error         0.380722'
expect_file fc1.weight.s24

# really smaller: 17 of 32 bits, and a header
[ "$(size_of fc1.weight.s24)" -lt 20480 ] || fail "expected fc1.weight.s24 to be smaller than 20 KiB"

# and back: two zeros in every group of four, kept values as they were
run decompress fc1.weight.s24 -o back.npy
expect_status 0
[ "$(size_of back.npy)" -eq "$(size_of fc1.weight.npy)" ] || fail "expected back.npy to be as large as the original"
run verify back.npy
expect_status 0

# a whole model: a line a tensor, and totals
run prune "$digits/digits.safetensors" -o digits.s24
expect_status 0
for tensor in fc1.weight fc2.weight fc3.weight total; do
    grep -q "^$tensor " .stderr || fail "expected a line for $tensor"
done
expect_stderr_lacks fc1.bias
expect_stderr_has '3 of 6 tensors are carried as they are'
run prune "$digits/digits.safetensors" -o digits2.s24 -v
expect_status 0
expect_stderr_has 'rank 1: no matrix'
expect_same digits.s24 digits2.s24

# JSON
echo '[[1,-3,2,0.5],[0,0,7,8]]' >w.json
run prune w.json
expect_status 0
run decompress w.s24 -o -
expect_status 0
expect_stdout '[[0,-3,2,0],[0,0,7,8]]'
expect_no_stderr

# raw: ties go to the lower index
f32 1 -1 1 1 2 4 -4 3 >w.raw
run prune w.raw --from raw --raw-dtype f32 --shape 2,4 -o r.s24
expect_status 0
run decompress r.s24 --to json -o -
expect_stdout_has '[[1,-1,0,0],[0,4,-4,0]]'
run prune --from=raw --raw-dtype=f32 --shape=8 w.raw -o - -q
expect_status 0
mv .stdout r8.s24
run decompress r8.s24 --to json -o -
expect_stdout_has '[1,-1,0,0,0,4,-4,0]'
(printf 'head' && cat w.raw) >h.raw
run prune h.raw --from raw --raw-dtype f32 --shape 2,4 --offset 4 -o h.s24
expect_status 0
run decompress h.s24 --to json -o -
expect_stdout_has '[[1,-1,0,0],[0,4,-4,0]]'
printf '\077\200\000\000\100\000\000\000\300\200\000\000\100\100\000\000' >b.raw
run prune b.raw --from raw --raw-dtype f32 --shape 4 --endian big -o b.s24
expect_status 0
run decompress b.s24 --to json -o -
expect_stdout_has '[0,0,-4,3]'

# npy
f32 1 2 3 4 | npy n.npy '<f4' '(4,)'
run prune n.npy -q
expect_status 0
run decompress n.s24 -o -  --to json
expect_stdout_has '[0,0,3,4]'

# safetensors; what is no matrix is carried, and so is the metadata
f32 1 2 3 4 1 2 >two.data
safetensors two.safetensors '{"__metadata__":{"k":"v w"},"a":{"dtype":"F32","shape":[1,4],"data_offsets":[0,16]},"b":{"dtype":"F32","shape":[2],"data_offsets":[16,24]}}' <two.data
run prune two.safetensors -q
expect_status 0
run decompress two.s24 -o back.safetensors
expect_status 0
grep -q 'v w' back.safetensors || fail "expected the metadata in back.safetensors"
run decompress two.s24 --tensor a --to json -o -
expect_status 0
expect_stdout_has '[[0,0,3,4]]'
run decompress two.s24 --tensor b --to json -o -
expect_stdout_has '[1,2]'

# the same bytes whatever the threads and the instruction set
run prune "$digits/digits.safetensors" -o t1.s24 -T 1 -q
run prune "$digits/digits.safetensors" -o t2.s24 -T 7 --isa generic --no-sync -q
expect_status 0
expect_same t1.s24 t2.s24
expect_same t1.s24 digits.s24

# one is not many
echo '{"w": [[1, -3, 2, 0.5]], "v": [1]}' >several.json
run prune several.json
expect_status 0
expect_stderr_has '1 of 2 tensors is carried as it is; -v lists it and says why'
echo '{"w": [[1], [2]]}' >single.json
run inspect single.json
expect_stdout_has '1 element along its axis: no multiple of 4'
