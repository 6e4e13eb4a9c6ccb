# Masks for both directions, and permutations of neighbouring layers.
. "$LIB"

# 4 x 4: by rows 2 and 3 would win everywhere; two a column means that others must be kept
echo '[[1,2,3,4],[1,2,3,4],[2,1,3,4],[2,1,3,4]]' >w.json
run prune w.json --transposable --to json -o -
expect_status 0
expect_stderr_has 'by magnitude+transposable'
awk -F'[][,]+' '{ for (i = 2; i <= 17; i++) if ($i != 0) { row[int((i - 2) / 4)]++; col[(i - 2) % 4]++ } }
    END { for (i = 0; i < 4; i++) if (row[i] != 2 || col[i] != 2) exit 1 }' .stdout || fail "expected two a row and two a column"
run prune w.json --transposable --method obs --activations w.json
expect_usage_error prune '--transposable goes with'

# fc1 -> fc2: the columns of fc2, and rows and biases of fc1, in one order
echo '{"a.weight":[[1,2,3,4],[5,6,7,8],[9,10,11,12],[13,14,15,16],[17,18,19,20],[21,22,23,24],[25,26,27,28],[29,30,31,32]],
"a.bias":[1,2,3,4,5,6,7,8],"b.weight":[[9,8,7,6,1,1,1,1],[9,8,7,6,1,1,1,1]]}' >m.json
run prune m.json -x 'a.*' --permute-with 'b.weight=a.weight,a.bias' --to json -o out.json -v
expect_status 0
expect_stderr_has 'b.weight: permuted: 2:4 keeps 88.24 % of the magnitude instead of 55.88 %'
# every kept 9, 8, 7, 6 of b stands where the bias of its input does, 1 to 4
tr -d '{}" ' <out.json | tr '\n' ' ' | grep -q 'data:\[' || fail "expected JSON with data"
python3 - <<'PY' || fail "expected one order for all"
import json
o = {k: v["data"] for k, v in json.load(open("out.json")).items()}
for row in o["b.weight"]:
    for x, bias in zip(row, o["a.bias"]):
        assert x == 0 or x == 1 or x == 10 - bias
assert sorted(o["a.bias"]) == list(range(1, 9))
for row, bias in zip(o["a.weight"], o["a.bias"]):
    assert row == [4 * bias - 3 + k for k in range(4)]
PY
"$S24" prune - -x 'a.*' --permute-with 'b.weight=a.weight,a.bias' --to json -o - -q <m.json | cmp -s - out.json ||
    fail "expected the same from a pipe"

# rules that make no sense
run prune m.json --permute-with b.weight
expect_usage_error prune 'NAME=PREV'
run prune m.json --permute-with b.weigh=a.bias -o x.s24
expect_status 2
expect_error 'no tensor b.weigh'
run prune m.json --permute-with b.weight=a.weight@1 -o x.s24
expect_status 2
expect_error 'a.weight has no axis 1 of 8 elements'
run prune m.json --permute-with b.weight=a.weight,a.weight -o x.s24
expect_status 2
expect_error 'a.weight: axis 0 is permuted twice'
run prune m.json --permute-with b.weight=a.bias -o x.s24
expect_status 2
expect_error 'b.weight=a.bias names no weights' 'fc2.weight=fc1.weight,fc1.bias'
run prune m.json -x 'b.*' --permute-with b.weight=a.weight -o x.s24
expect_status 2
expect_error 'b.weight is not pruned'
run prune m.json --permute --to json -o -
expect_status 2
expect_error '--permute' 'write .s24'
expect_no_file x.s24

# alone: the order is stored, and undone
echo '{"b.weight":[[9,8,7,6,1,1,1,1],[9,8,7,6,1,1,1,1]]}' >b.json
run prune b.json --permute -o b.s24
expect_status 0
run verify b.s24
expect_status 0
run decompress b.s24 -o -
expect_stdout_has '"data":[[9,8,7,6,0,0,0,0],[9,8,7,6,0,0,0,0]]'
run stats b.s24 --original b.json --json
expect_stdout_has '"relative_error":0.13074'
few few.json 2
run prune few.json --permute -o few.s24 -q
run prune few.json --permute -o one.s24 -q -T 1
expect_same few.s24 one.s24
"$S24" prune - --permute -o - -q <few.json | cmp -s - few.s24 || fail "expected the same from a pipe and to one"

# an order that is stored: which tensors have one is told, and so is that a dense file is not 2:4 without it
run prune m.json -x a.weight --permute -o p.s24
expect_status 0
expect_stderr_has 'pruned, permuted'
run inspect p.s24 --json
expect_stdout_has '"permuted":true'
expect_stdout_has '"permuted":false'
run convert p.s24 -o p.npz
expect_status 0
expect_stderr_has 'p.s24: b.weight is 2:4 in another order of its columns, which is undone; only a .s24 keeps it'
run convert p.s24 -z -o z.s24
expect_status 0
grep -q 'another order' .stderr && fail "expected no warning where the order is kept"
run prune m.json -i a.weight --permute -o two.s24 -q
run convert two.s24 -o two.npz -v
expect_stderr_has 'two.s24: a.weight and 1 more are 2:4 in another order of their columns'
