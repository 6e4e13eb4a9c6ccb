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
expect_stdout_has 'd.safetensors: fc1.weight: row 0, group 0: '
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
expect_stdout_has 'w.json: row 1, group 1: '
[ "$(wc -l <.stdout)" -eq 1 ] || fail "expected one line"
echo '[[1,2,0,0],[1,-0.0,0,2]]' >w.json
run verify w.json
expect_status 0

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
expect_stdout_has '{"path":"d.safetensors","ok":false,"faults":[{"tensor":"fc1.weight","row":0,"group":0,"message":"'
expect_stdout_has '"skipped":[{"name":"fc1.bias","reason":"rank 1: no matrix"}'
expect_stdout_has '{"path":"noise","ok":false,"faults":[{"tensor":null,"row":null,"group":null,"message":"'
if command -v python3 >/dev/null; then
    python3 -m json.tool .stdout >/dev/null || fail "expected valid JSON"
fi
