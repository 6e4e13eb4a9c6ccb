# prune: axes, selection, stored dtypes, criteria, what is not finite.
. "$LIB"

# axis: by number, from the end, by name; the last that matches counts
echo '[[1,9],[2,8],[3,7],[4,6]]' >w.json
run prune w.json --axis 0 -o a.s24 -q
expect_status 0
run decompress a.s24 -o -
expect_stdout '[[0,9],[0,8],[3,0],[4,0]]'
run prune w.json --axis -2 -o b.s24 -q
expect_status 0
expect_same a.s24 b.s24
run prune w.json --axis=-2 -f -o b.s24 -q
expect_same a.s24 b.s24
run prune w.json --axis -1 -o c.s24 -q
expect_status 0
run decompress c.s24 -o -
expect_stdout '[[1,9],[2,8],[3,7],[4,6]]'
run prune w.json --axis 0 --axis auto -o d.s24 -q
run decompress d.s24 -o -
expect_stdout '[[1,9],[2,8],[3,7],[4,6]]'
run prune w.json --axis 2
expect_status 2
expect_error w.json
expect_no_file w.s24

echo '{"p.w":[[1,9,1,9],[2,8,2,8],[3,7,3,7],[4,6,4,6]],"q=w":[[1,9,1,9],[2,8,2,8],[3,7,3,7],[4,6,4,6]]}' >m.json
run prune m.json --axis 'p.*=0' -o m.s24 -v
expect_status 0
expect_stderr_has 'axis 0: given'
expect_stderr_has 'the last axis'
run decompress m.s24 --tensor p.w --to json -o -
expect_stdout_has '[[0,9,0,9],[0,8,0,8],[3,0,3,0],[4,0,4,0]]'
run decompress m.s24 --tensor q=w --to json -o -
expect_stdout_has '[[0,9,0,9],[0,8,0,8],[0,7,0,7],[0,6,0,6]]'
run prune m.json --axis 'q=w=-2' --axis '*=auto' --axis 'q=*=0' -f -o m.s24 -q
expect_status 0
run decompress m.s24 --tensor q=w --to json -o -
expect_stdout_has '[[0,9,0,9],[0,8,0,8],[3,0,3,0],[4,0,4,0]]'

# selection
run prune m.json -x 'p.*' -f -o m.s24 -v
expect_status 0
expect_stderr_has 'excluded by p.*'
run decompress m.s24 --tensor p.w --to json -o -
expect_stdout_has '[[1,9,1,9],[2,8,2,8],[3,7,3,7],[4,6,4,6]]'
run prune m.json -x 'p.*' --exclude 'q*' -o none.s24
expect_status 5
expect_error m.json
expect_no_file none.s24
run prune m.json -x '*' -n
expect_status 5
expect_stderr_has 'excluded by *'
run prune m.json -i '*' -x 'p*' -f -o m.s24 -v
expect_status 0
expect_stderr_has 'excluded by p*'
run prune m.json -i 'no-such-*' -f -o m.s24
expect_status 2
expect_error 'no-such-*'

# a model's default rule, --include and --all beyond it
echo '{"embed.w":[[1,2,3,4]],"norm.w":[[1,2,3,4]],"x.bias":[[1,2,3,4]],"v":[1,2,3,4],"odd":[[1,2,3]],"w":[[1,2,3,4]]}' >r.json
run inspect r.json
expect_status 0
expect_stdout_has '6 tensors, 1 eligible'
run prune r.json -o r.s24 --json -q
expect_status 0
[ "$(grep -c '"status":"pruned"' .stdout)" -eq 1 ] || fail "expected one pruned tensor"
[ "$(grep -c '"status":"dense"' .stdout)" -eq 5 ] || fail "expected five carried tensors"
run prune r.json -o r.s24 --json -qf --include odd
[ "$(grep -c '"status":"p' .stdout)" -eq 2 ] || fail "expected two pruned tensors"
run prune r.json -o r.s24 --json -qf --all
[ "$(grep -c '"status":"p' .stdout)" -eq 6 ] || fail "expected six pruned tensors"

# stored dtype
run prune "$digits/fc1.weight.npy" --dtype f16 -o f16.s24
expect_status 0
expect_stderr_has 'f32->f16'
[ "$(size_of f16.s24)" -lt 12288 ] || fail "expected f16.s24 to be smaller than 12 KiB"
run prune "$digits/fc1.weight.npy" --dtype=same -o same.s24 -q
run prune "$digits/fc1.weight.npy" -o default.s24 -q
expect_same same.s24 default.s24
f32 1 2 3 1e38 | npy big.npy '<f4' '(4,)'
run prune big.npy --dtype f16 -o big.s24
expect_status 3
expect_error big.npy '3'
expect_no_file big.s24
run prune "$digits/fc1.weight.npy" --dtype i32 -o i32.s24
expect_status 2
expect_error
expect_no_file i32.s24

# gradients
echo '[[1,-3,2,0.5]]' >w1.json
echo '[[9,0,0,9]]' >g1.json
run prune w1.json --method gradient --gradients g1.json -o g.s24
expect_status 0
expect_stderr_has 'by gradient'
run decompress g.s24 -o -
expect_stdout '[[1,0,0,0.5]]'
echo '[[9,0,0]]' >g2.json
run prune w1.json --method gradient --gradients g2.json -o h.s24
expect_status 3
expect_error g2.json
run prune w1.json --method gradient --gradients missing.json -o h.s24
expect_status 4
expect_error missing.json
expect_no_file h.s24
echo '{"w": [[9,0,0,9]], "v": [[9,0,0,9]]}' >g3.json
run prune w1.json --method gradient --gradients g3.json -o h.s24
expect_status 3
expect_error 'g3.json: no gradients for an array without a name'
# a .s24 has a tensor of that name, but its values are not where a dense file has them
run prune g1.json -o g1.s24 -q
expect_status 0
run prune w1.json --method gradient --gradients g1.s24 -o h.s24
expect_status 2
expect_error g1.s24 'is a .s24 file; --gradients takes a dense one'
expect_no_file h.s24

# NaN and infinity
f32 1 2 nan 3 inf 1 2 3 | npy nan.npy '<f4' '(2, 4)'
run prune nan.npy
expect_status 3
expect_error nan.npy 'nan'
expect_no_file nan.s24
run prune nan.npy --allow-nonfinite --json -q
expect_status 0
expect_stdout_has '"nonfinite_count":2'

# not of the types that s24 knows
printf 'GGUF\003\000\000\000' >model.gguf
run prune model.gguf
expect_status 3
expect_error model.gguf
printf '\200\002\212\nl\374' >model.pt
run prune model.pt
expect_status 3
expect_error model.pt
noise 100 >noise.bin
run prune noise.bin
expect_status 3
expect_error noise.bin
run prune noise.bin --from raw
expect_status 2
expect_error noise.bin '--raw-dtype'
run prune noise.bin --from raw --raw-dtype f32 --shape 4,4
expect_status 3
expect_error noise.bin

# patterns that name nothing are told; --include is an error
run prune "$digits/digits.safetensors" -x 'fc9*' --axis 'fcx=0' -n
expect_status 0
expect_stderr_has "no tensor's name matches --exclude fc9*"
expect_stderr_has "no tensor's name matches --axis fcx=0"
run prune "$digits/digits.safetensors" -i 'fc9*' -n
expect_status 2

# what is for raw data is not ignored elsewhere
run prune "$digits/fc1.weight.npy" --raw-dtype f32 --shape 4096,4096 -n
expect_status 2
expect_error '--from raw'

# the axes that there are
run prune "$digits/fc1.weight.npy" --axis 7 -n
expect_status 2
expect_error 'no axis 7' '0 to 1, or -1 to -2'

# several inputs go into a directory, which is not called like a file
run prune "$digits/fc1.weight.npy" "$digits/fc2.weight.npy" -o many.s24
expect_usage_error prune 'many.s24/'
expect_no_file many.s24
