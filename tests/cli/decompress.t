# decompress: back to what it was, to other types, one tensor, and what can be saved of a damaged file.
. "$LIB"

cp "$digits/digits.safetensors" d.safetensors
cp "$digits/fc1.weight.npy" w.npy
run prune d.safetensors w.npy -q
expect_status 0

# without -o: the suffix of what was pruned, beside the input, never over it
run decompress d.s24
expect_status 4
expect_error d.safetensors exists
mkdir sub
mv d.s24 w.s24 sub
run decompress sub/d.s24
expect_status 0
expect_no_stdout
expect_no_stderr
run decompress sub/w.s24 -v
expect_status 0
expect_stderr_has 'sub/w.s24 -> sub/w.npy'
expect_only sub d.s24 w.s24 d.safetensors w.npy
run verify sub/d.safetensors sub/w.npy
expect_status 0
run decompress sub/w.s24 --to json
expect_status 0
expect_file sub/w.json
mv sub/d.s24 sub/w.s24 .
echo '[[1,2,3,4]]' >j.json
run prune j.json -q
rm j.json
run decompress j.s24
expect_status 0
[ "$(cat j.json)" = '[[0,0,3,4]]' ] || fail "expected other values in j.json"

# types
for suffix in npy raw bin json safetensors; do
    run decompress w.s24 -o to.$suffix
    expect_status 0
    expect_file to.$suffix
done
expect_same to.raw to.bin
[ "$(size_of to.raw)" -eq 32768 ] || fail "expected 32768 bytes"
run decompress w.s24 --to npy -o to.dat
expect_same to.dat to.npy
run decompress w.s24 -o to.unknown
expect_same to.unknown to.npy
run decompress d.s24 -o to2.npy
expect_status 2
expect_error
expect_no_file to2.npy
run decompress w.s24 -o x.s24
expect_status 2

# one tensor, another dtype
run decompress d.s24 --tensor fc1.weight -o one.npy
expect_status 0
expect_same one.npy to.npy
run decompress d.s24 --tensor fc1.bias -o bias.npy
expect_status 0
expect_same bias.npy "$digits/fc1.bias.npy"
run decompress w.s24 --dtype f64 -o wide.raw
expect_status 0
[ "$(size_of wide.raw)" -eq 65536 ] || fail "expected 65536 bytes"
run decompress w.s24 --dtype f16 -o narrow.raw
expect_status 0
[ "$(size_of narrow.raw)" -eq 16384 ] || fail "expected 16384 bytes"

# salvage: status 3, and the rest is there
cp d.s24 hurt.s24
size=$(size_of d.s24)
printf '\252\252\252\252' | dd of=hurt.s24 bs=1 seek=$((size / 2)) conv=notrunc 2>/dev/null
run decompress hurt.s24 -o saved.safetensors
expect_status 3
expect_error hurt.s24
expect_no_file saved.safetensors
run decompress hurt.s24 --salvage -o saved.safetensors
expect_status 3
expect_stderr_has hurt.s24
expect_stderr_has 'lost'
expect_file saved.safetensors
run decompress d.s24 --salvage -o whole.safetensors
expect_status 0
expect_no_stderr
run decompress d.s24 -o plain.safetensors
expect_same whole.safetensors plain.safetensors

# what is no .s24 is named
echo text >text.txt
run decompress text.txt
expect_status 3
expect_error 'text.txt: is no known type'
run decompress "$digits/fc1.weight.npy"
expect_status 3
expect_error 'is no .s24 file but .npy'
