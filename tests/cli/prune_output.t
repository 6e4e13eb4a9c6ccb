# prune: where outputs go, and of which type they are.
. "$LIB"

f32 1 2 3 4 1 2 3 4 | npy w.npy '<f4' '(2, 4)'
f32 4 3 2 1 4 3 2 1 | npy v.npy '<f4' '(2, 4)'

# the suffix decides, --to decides before it, .s24 is for the rest
run prune w.npy -o dense.npy -q
expect_status 0
head -c 6 dense.npy | grep -q NUMPY || fail "expected dense.npy to be an .npy"
run prune w.npy -o dense.json -q
expect_status 0
grep -F -q '[[0,0,3,4],[0,0,3,4]]' dense.json || fail "expected zeros in dense.json"
run prune w.npy -o dense.safetensors -q
expect_status 0
run prune w.npy -o dense.raw -q
expect_status 0
f32 0 0 3 4 0 0 3 4 >wanted.raw
expect_same dense.raw wanted.raw
run prune w.npy -o dense.bin -q
expect_same dense.bin wanted.raw
run prune w.npy -o plain.s24 -q
run prune w.npy -o unknown.suffix -q
expect_status 0
expect_same unknown.suffix plain.s24
run prune w.npy -o raw.npy --to raw -q
expect_same raw.npy wanted.raw
run prune w.npy -o same.dat --to same -q
expect_same same.dat dense.npy
run prune w.npy -o model.onnx --to s24 -q
expect_status 0
expect_same model.onnx plain.s24

# -oFILE, --output=FILE, clusters, options before and after the files
run prune w.npy -oa.s24 -q
expect_same a.s24 plain.s24
run prune -qfo a.s24 w.npy
expect_status 0
run prune -q --output=b.s24 w.npy
expect_same b.s24 plain.s24
run -q prune --no-sync w.npy -o c.s24
expect_status 0
expect_no_stderr
expect_same c.s24 plain.s24
run prune -q -o lost.s24 -o d.s24 w.npy
expect_same d.s24 plain.s24
expect_no_file lost.s24

# without -o, beside the input
mkdir in
cp w.npy in/w.npy
cp w.npy in/w.weights
cp w.npy in/model
run prune in/w.npy -q
expect_same in/w.s24 plain.s24
run prune in/w.weights in/model -q
expect_same in/w.weights.s24 plain.s24
expect_same in/model.s24 plain.s24
run prune in/w.npy --to json -q
expect_file in/w.json

# several inputs: a directory, made when it is not there
run prune w.npy v.npy -o out
expect_status 0
expect_stderr_has 'w.npy -> out/w.s24'
expect_stderr_has 'v.npy -> out/v.s24'
expect_stderr_has '2 files'
expect_only out w.s24 v.s24
expect_same out/w.s24 plain.s24
run prune w.npy v.npy -o out/ --to npy -q
expect_status 0
expect_only out w.s24 v.s24 w.npy v.npy
mkdir there
run prune w.npy -o there -q
expect_only there w.s24
run prune w.npy -o new/ -q --to same
expect_only new w.npy
expect_same new/w.npy dense.npy

# one that fails does not stop the others
echo nonsense >bad.npy
run prune w.npy bad.npy v.npy -o some
expect_status 3
expect_stderr_has 's24: bad.npy: '
expect_only some w.s24 v.s24
run prune bad.npy missing.npy -o none
expect_status 4
expect_no_file none

# a dry run writes nothing, and says everything
run prune w.npy v.npy -n -o dry
expect_status 0
expect_no_file dry
expect_stderr_has 'relative_error'
run prune "$digits/digits.safetensors" -n -o dry.s24
expect_status 0
expect_no_file dry.s24
expect_stderr_has 'rank 1: no matrix'
expect_stderr_has 'the last axis'

# a link is followed
mkdir real
touch real/target.s24
ln -s real/target.s24 link.s24
run prune w.npy -f -o link.s24 -q
expect_status 0
[ -L link.s24 ] || fail "expected link.s24 to stay a link"
expect_same real/target.s24 plain.s24

# the mode is what umask says
(umask 027 && run prune w.npy -o mode.s24 -q)
[ "$(find mode.s24 -perm 640)" = mode.s24 ] || fail "expected mode 640"
