# plan: what 2:4 costs each tensor by each criterion, and what stays dense under a budget; prune --plan does just that.
. "$LIB"

cp "$digits/digits.safetensors" m.safetensors
cp "$digits/calibration.npz" x.npz

# without a budget everything is pruned; nothing is written
run plan m.safetensors
expect_status 0
expect_no_stderr
expect_stdout_has 'm.safetensors: a plan for magnitude'
expect_stdout_line 'fc1.weight  128x64             0.380722  prune     32.8 kB  17.4 kB'
expect_stdout_has '3 of 3 eligible tensors are pruned, 0 stay dense: 68.9 kB -> 37.0 kB (53.67 %)'
expect_stdout_has '3 of 6 tensors are not eligible'
expect_stdout_lacks 'output'
expect_only . m.safetensors x.npz
run plan m.safetensors -v
expect_stdout_has 'rank 1: no matrix'

# a budget leaves dense what breaks it, and says by which figure; the plan is the same from every way out
run plan m.safetensors --budget 'relative_error<=0.35' -o p.json
expect_status 0
expect_stdout_line 'fc1.weight  128x64             0.380722  dense     32.8 kB  32.8 kB  relative_error 0.380722 > 0.35'
expect_stdout_has '1 of 3 eligible tensors is pruned, 2 stay dense: 68.9 kB -> 53.5 kB'
cp p.json wanted
run plan m.safetensors --budget 'relative_error<=0.35' --json
expect_no_stderr
expect_same .stdout wanted
run plan m.safetensors --budget 'relative_error<=0.35' -o -
expect_stderr_has 'a plan for magnitude'
expect_same .stdout wanted
if command -v python3 >/dev/null; then
    python3 -m json.tool p.json >/dev/null || fail "expected valid JSON"
fi
grep -F -q '{"schema": "s24.plan/1", "version": "' p.json || fail "expected the schema"
grep -F -q '"budget": ["relative_error<=0.35"]' p.json || fail "expected the budget"
grep -F -q '"totals": {"tensors":6,"eligible":3,"pruned":1,"left_dense":2,"bytes_dense":68904,"bytes_planned":53544}' p.json ||
    fail "expected other totals"
run plan m.safetensors --budget 'relative_error<=0.37' --budget 'total_count>640'
expect_stdout_has 'total_count 640 <= 640'
expect_stdout_has 'relative_error 0.380722 > 0.37'
run plan m.safetensors --budget 'relative_error<=0'
expect_status 0
expect_stdout_has '0 of 3 eligible tensors are pruned, 3 stay dense'

# a drawing: the budget is a line, the tensor that stays dense is marked
run plan m.safetensors --budget 'relative_error<=0.35' --budget 'approximation_error<1' --svg p.svg -q
expect_status 0
grep -q '<title>fc1.weight, relative error of the weights, by magnitude: 0.380722</title>' p.svg || fail "expected a bar"
grep -q 'budget: relative_error&lt;=0.35' p.svg || fail "expected the budget"
grep -q '1 budgets of other figures are not drawn' p.svg || fail "expected a word on the other budget"
[ "$(grep -c '>dense</text>' p.svg)" -eq 2 ] || fail "expected two marks"

# pruned by it: what the plan prunes and nothing else, the same bytes of weights; reasons in the reports
run prune m.safetensors --plan p.json -o p.s24
expect_status 0
expect_stderr_has 'p.s24'
run stats p.s24 -v
expect_stdout_has 'left dense by the plan: relative_error 0.380722 > 0.35'
expect_stdout_has 'rank 1: no matrix'
run prune m.safetensors -x fc1.weight -x fc3.weight -o q.s24 -q
"$S24" decompress p.s24 -o a.safetensors -q && "$S24" decompress q.s24 -o b.safetensors -q
expect_same a.safetensors b.safetensors
run prune m.safetensors --plan - -o - -q <p.json
expect_status 0
expect_same .stdout p.s24
run prune m.safetensors --plan p.json --dtype f16 --json -n
expect_stdout_has '"stored_dtype":"f16"'
# what is planned for stays planned: method, dtype, axes
run plan m.safetensors --dtype f16 --axis 'fc2.*=0' -o h.json -q
run prune m.safetensors --plan h.json -n --json
expect_stdout_has '"name":"fc2.weight","dtype":"f32","stored_dtype":"f16","shape":[64,128],"axis":0,"status":"pruned","reason":"axis 0: given"'
run prune m.safetensors --plan h.json -x 'fc2*' -n -v
expect_stderr_has 'excluded by fc2*'
run plan m.safetensors --dtype i8 --group-size 128 --transposable -o i.json
expect_stdout_has 'a plan for magnitude+transposable'
expect_stdout_has 'relative: magnitude  relative: magnitude+transposable'
run prune m.safetensors --plan i.json -o i.s24 -q
expect_status 0
run prune m.safetensors --dtype i8 --group-size 128 --transposable -o direct.s24 -q
expect_same i.s24 direct.s24
# an order of the columns, beside magnitude as it is: the errors planned are those of the file that prune --plan makes
few few.json 2
run plan few.json --permute -o o.json
expect_stdout_has 'a plan for magnitude+permute'
expect_stdout_has 'relative: magnitude  relative: magnitude+permute'
grep -F -q '"permute": true' o.json || fail "expected the order in the plan"
run prune few.json --plan o.json -o o.s24 -q
expect_status 0
run prune few.json --permute -o direct.s24 -q -f
expect_same o.s24 direct.s24
recorded=$("$S24" stats o.s24 --json | sed -n 's/.*"t1".*"relative_error":\([0-9.]*\),.*/\1/p')
grep -F -q "\"relative_error\":$recorded," o.json || fail "expected the error $recorded in the plan"
run prune few.json --plan o.json --method magnitude -o q.s24 -qf
run prune few.json -o unpermuted.s24 -q
expect_same q.s24 unpermuted.s24
run prune few.json --plan o.json --to npz -o few.npz -q
expect_status 2
expect_error 'o.json: a dense file of permuted tensors would not be 2:4' 'write .s24'
run plan m.safetensors --group-size 128
expect_usage_error plan '--group-size goes with --dtype'
# and what was excluded, and included
run plan m.safetensors -x fc3.weight -i fc1.bias -o e.json -q
run prune m.safetensors --plan e.json -n --json
expect_stdout_has '"name":"fc1.bias","dtype":"f32","stored_dtype":"f32","shape":[128],"axis":0,"status":"pruned"'
expect_stdout_has '"reason":"left dense by the plan: excluded by fc3.weight"'
# of a lone array, of raw data, of a checkpoint, through a pipe
echo '[[1,2,3,4],[8,1,1,1]]' >w.json
run plan w.json -o w.plan -q
run prune w.json --plan w.plan --to json -o -
expect_stdout '[[0,0,3,4],[8,1,0,0]]'
run plan - --json <w.json
expect_status 0
expect_stdout_has '"path": "standard input"'
mkdir ckpt
cp m.safetensors ckpt/model.safetensors
run plan ckpt --budget 'relative_error<=0.35' -o c.json -q
expect_status 0
run prune ckpt --plan c.json -o pruned/ --to same -q
expect_status 0
expect_same pruned/model.safetensors a.safetensors

# strict: both list the same tensors, in the same shapes
sed 's/fc2.weight/fc9.weight/' p.json >lacks.json
run prune m.safetensors --plan lacks.json -o x.s24
expect_status 3
expect_error 'fc2.weight' 'is not in lacks.json' '--exclude'
run prune m.safetensors --plan lacks.json -x fc2.weight -o x.s24
expect_status 3
expect_error 'lacks.json lists tensor fc9.weight, which the model has not' 's24 plan'
sed 's/\[64,128\]/[64,64]/' p.json >shape.json
run prune m.safetensors --plan shape.json -o x.s24
expect_status 3
expect_error 'fc2.weight' 'another shape than in shape.json'
expect_no_file x.s24

# what is no plan is refused by name
refused()
{
    run prune m.safetensors --plan "$1" -o x.s24
    expect_status 3
    what=$1
    shift
    expect_error "$what: " "$@"
    expect_no_file x.s24
}
refused m.safetensors 'is no plan' 's24 plan'
echo '{"tensors":[]}' >bad.json
refused bad.json 'is no plan: it has no "schema": "s24.plan/1"'
"$S24" stats m.safetensors --json >bad.json
refused bad.json 'is no plan'
sed 's,s24.plan/1,s24.plan/2,' p.json >bad.json
refused bad.json 'schema s24.plan/2' 'reads s24.plan/1'
sed 's/"decision":"prune"/"decision":"perhaps"/' p.json >bad.json
refused bad.json 'fc2.weight: "decision"'
sed 's/"method": "magnitude"/"method": "luck"/' p.json >bad.json
refused bad.json 'no method luck'
sed 's/fc2.bias/fc1.bias/' p.json >bad.json
refused bad.json 'lists tensor fc1.bias twice'
head -c 700 p.json >bad.json
refused bad.json 'is no plan'
run prune m.safetensors --plan absent.json -o x.s24
expect_status 4
expect_error absent.json
run plan m.safetensors --budget 'relative_error<=0' -o none.json -q
run prune m.safetensors --plan none.json -o x.s24
expect_status 5
expect_error 'none.json leaves every tensor dense'
expect_no_file x.s24

# usage
run prune m.safetensors --plan p.json -i fc1.bias
expect_usage_error prune '--include is for s24 plan'
run prune m.safetensors w.json --plan p.json
expect_usage_error prune '--plan goes with one input'
run prune - --plan -
expect_usage_error prune 'both the plan and the weights'
run prune m.safetensors --plan p.json -o p.json -f
expect_usage_error prune 'would replace the plan'
run plan m.safetensors --budget 'output_error<=0.05'
expect_usage_error plan '--activations or --hessian'
run plan m.safetensors --budget 'held_out_error<=0.05' --hessian w.json
expect_usage_error plan 'needs --activations FILE'
run plan m.safetensors --budget 'relativ_error<=0.05'
expect_usage_error plan 'did you mean relative_error?'
run plan m.safetensors --budget relative_error
expect_usage_error plan '--budget'
run plan m.safetensors -o m.safetensors -f
expect_usage_error plan "would replace an input"
run plan ckpt -o ckpt/model.safetensors -f
expect_usage_error plan "would replace an input"
run plan m.safetensors -o p.json
expect_status 4
expect_error p.json
run plan m.safetensors -o y --svg y
expect_usage_error plan "cannot both be"
run plan - --gradients m.safetensors <m.safetensors
expect_usage_error plan 'only once'
run plan m.safetensors -x '*'
expect_status 5
expect_error 'no tensor is eligible'
run plan p.s24
expect_status 2
expect_error 'pruned already'

# with calibration: magnitude, Wanda and the method side by side; the plan needs its activations again
echo '[[1,2,3,4]]' >v.json
run prune v.json --activations v.json -n
grep -q 'no BLAS' .stderr && skip "no OpenBLAS"
run plan m.safetensors --activations x.npz --budget 'output_error<=0.05' -o cal.json --svg cal.svg
expect_status 0
expect_stdout_has 'output: magnitude  output: wanda  output: obs  held out: obs'
expect_stdout_has ' > 0.05'
expect_stdout_has '2 of 3 eligible tensors are pruned, 1 stays dense'
grep -q '"wanda":{"output_error":0.18' cal.json || fail "expected Wanda's errors"
for legend in 'by magnitude' 'by wanda' 'by obs' 'held out'; do
    grep -q "$legend</text>\|$legend, by obs</text>" cal.svg || fail "expected bars of: $legend"
done
run prune m.safetensors --plan cal.json -o c.s24
expect_status 2
expect_error 'cal.json plans for obs' '--activations or --hessian'
run prune m.safetensors --plan cal.json --activations x.npz -o c.s24 -q
expect_status 0
run stats c.s24 --tsv
[ "$(awk -F '\t' '$5 == "pruned" && $14 <= 0.05 { n++ } END { print n }' .stdout)" -eq 2 ] || fail "expected two tensors in the budget"
run prune m.safetensors --plan cal.json --method magnitude -n --json
expect_status 0
expect_stdout_has '"method":"magnitude"'
# the planned figures are those of pruning
recorded=$("$S24" stats c.s24 --json | sed -n 's/.*"fc2.weight".*"output_error":\([0-9.]*\),.*/\1/p')
grep -F -q "\"output_error\":$recorded,\"held_out_error\"" cal.json || fail "expected the error $recorded in the plan"
# and those of the others are what they would be
for method in magnitude wanda; do
    "$S24" prune m.safetensors --activations x.npz --method $method -o $method.s24 -q || fail "prune by $method"
    error=$("$S24" stats $method.s24 --tsv | awk -F '\t' '$2 == "fc1.weight" { printf "%.6g", $14 }')
    grep -q "<title>fc1.weight, error of the layer's output, by $method: $error</title>" cal.svg ||
        fail "expected the error $error by $method"
done
run plan m.safetensors --activations x.npz --method wanda
expect_stdout_has 'output: magnitude  output: wanda  held out: wanda'

run plan few.json --activations few.json -o cal.json -qf
run prune few.json --plan cal.json --activations few.json --permute -o permuted.s24 -q
expect_status 0
run verify permuted.s24
expect_status 0
run plan few.json --activations few.json --permute -o calpermuted.json -q
expect_status 0
recorded=$("$S24" stats permuted.s24 --json | sed -n 's/.*"t1".*"output_error":\([0-9.]*\),.*/\1/p')
grep -F -q "\"output_error\":$recorded,\"held_out_error\"" calpermuted.json ||
    fail "expected the error $recorded in the plan"
