# Second inputs of pruning: scores, activations, hessian, norms, and what is fitted to them.
. "$LIB"

# the user's own scores: the greatest two, signed, ties to the lower index
echo '[[1,2,3,4,5,6,7,8]]' >w.json
echo '[[-1,-2,0,-3,5,5,5,5]]' >s.json
run prune w.json --scores s.json --to json -o -
expect_status 0
expect_stdout '[[1,0,3,0,5,6,0,0]]'
expect_stderr_has 'by scores'
echo '[[1,2,3,4]]' >short.json
run prune w.json --scores short.json -o x.s24
expect_status 3
expect_error short.json scores
expect_no_file x.s24

# wanda: |w| times the norm; w alone would keep 3 and 4
echo '[[1,2,3,4]]' >v.json
echo '[8,1,1,2]' >n.json
run prune v.json --norms n.json --to json -o - -q
expect_status 0
expect_stdout '[[1,0,0,4]]'
run prune v.json --norms n.json -o w.s24
expect_stderr_has 'by wanda'

# from a pipe, in either order of storage, with sums of the weights, too
echo '[[1,2,3,4],[4,1,1,5],[1,1,6,1]]' >r.json
for method in wanda ria; do
    run prune r.json --norms n.json --method $method -o r.s24 -f -q
    run prune - --from json --norms n.json --method $method -o - -q <r.json
    expect_same .stdout r.s24
done
run prune r.json --norms n.json --method ria --to json -o - -q
expect_stdout '[[1,0,0,4],[4,0,0,5],[1,0,6,0]]'
run prune r.json --norms n.json --method ria --axis 0 -n
expect_status 3
expect_error n.json 'it must be K, of K = 3 inputs'

# a second input alone chooses its method; what is in vain is refused
run prune v.json --norms n.json --method magnitude
expect_usage_error prune '--norms'
run prune v.json --method gradient --activations n.json
expect_usage_error prune '--gradients'
run prune v.json --refit
expect_usage_error prune '--refit needs --activations or --hessian'
run prune v.json --refit --norms n.json
expect_usage_error prune '--refit needs'
run prune v.json --method obs
expect_usage_error prune '--activations or --hessian'
run prune v.json --activations n.json --hessian n.json
expect_usage_error prune 'one of'
run prune v.json w.json --norms n.json
expect_usage_error prune '--norms goes with one input'

# shapes: what they are, and what they must be
echo '[[1,2,3]]' >a3.json
run prune v.json --activations a3.json -o x.s24
expect_status 3
expect_error a3.json 'shape of the activations, [1, 3], does not fit' 'K = 4'
echo '[[1,0],[0,1]]' >h2.json
run prune v.json --hessian h2.json -o x.s24
expect_status 3
expect_error h2.json 'shape of the hessian, [2, 2], does not fit' 'K x K'
expect_no_file x.s24

# a model must have them all
echo '{"a":[[1,2,3,4]],"b":[[1,2,3,4]]}' >m.json
echo '{"a":[4,3,2,1]}' >mn.json
run prune m.json --norms mn.json -o x.s24
expect_status 3
expect_error mn.json 'no norms for tensor b' '--exclude'
expect_no_file x.s24
run prune m.json --norms mn.json -x b --to json -o - -q
expect_status 0
expect_stdout_has '"data":[[0,2,3,0]]'

# the digits network: fitted, the layers' outputs are far nearer, and it is recorded
run prune v.json --activations v.json -n
grep -q 'no BLAS' .stderr && skip "no OpenBLAS"
model="$digits/digits.safetensors" x="$digits/calibration.npz"
run prune "$model" --activations "$x" -o obs.s24
expect_status 0
expect_stderr_has 'output error'
run stats obs.s24 --json
expect_stdout_has '"method":"obs"'
expect_stdout_has '"calibration_samples":256,"held_out_samples":64'
run verify obs.s24
expect_status 0

# figures for conditions and in TSV; undefined where nothing is known of the inputs
run stats obs.s24 --fail-if 'output_error>0' --fail-if 'held_out_error>=1'
expect_status 1
expect_stderr_has 'fc1.weight: output_error is'
[ "$(wc -l <.stderr)" -eq 3 ] || fail "expected three lines on stderr"
run stats obs.s24 --tsv
[ "$(awk -F '\t' 'NR > 1 && $14 > 0 && $15 > 0' .stdout | wc -l)" -eq 3 ] || fail "expected three output errors"
run prune "$model" -o plain.s24 -q
run stats plain.s24 --fail-if 'output_error>=0' --fail-if 'held_out_error>=0'
expect_status 0
rm plain.s24

error_of()
{
    "$S24" stats "$1" --json | tr ',' '\n' | sed -n 's/"output_error"://p' | head -1
}
run prune "$model" --method wanda --refit --activations "$x" -o refit.s24 -q
run prune "$model" --method sparsegpt --activations "$x" -o gpt.s24 -q
awk -v a="$(error_of obs.s24)" -v b="$(error_of gpt.s24)" 'BEGIN { exit !(a > 0 && a < b) }' ||
    fail "expected obs to be better than sparsegpt"

# what another method would do to the output
run prune "$model" --method magnitude --activations "$x" -o magnitude.s24 -q
run prune "$model" -o plain.s24 -q
"$S24" decompress magnitude.s24 -o a.safetensors -q && "$S24" decompress plain.s24 -o b.safetensors -q
expect_same a.safetensors b.safetensors
awk -v a="$(error_of obs.s24)" -v b="$(error_of magnitude.s24)" 'BEGIN { exit !(a < b / 2) }' ||
    fail "expected obs to be far better than magnitude"

# the same bytes whatever the number of threads; from a pipe, and to one
run prune "$model" --activations "$x" -o one.s24 -q -T 1
expect_same obs.s24 one.s24
run prune - --activations "$x" -o - -q <"$model"
expect_same .stdout obs.s24

# a mask alone: the same by activations, products and norms, and what it does to the output is told but for norms
echo '[[3,0,0,0],[0,4,0,0],[0,0,1,0],[0,0,0,2]]' >x4.json
echo '[[9,0,0,0],[0,16,0,0],[0,0,1,0],[0,0,0,4]]' >h4.json
echo '[3,4,1,2]' >n4.json
for method in wanda ria; do
    run prune r.json --norms n4.json --method $method --to json -o - -q
    cp .stdout by_norms
    run prune r.json --activations x4.json --method $method --to json -o - -q
    expect_same .stdout by_norms
    run prune - --from json --hessian h4.json --method $method --to json -o - -q -T 1 <r.json
    expect_same .stdout by_norms
done
for inputs in --activations=x4.json --hessian=h4.json; do
    run prune r.json "$inputs" --method wanda -n --json
    expect_stdout_has '"output_error":0.3188964'
done
run prune r.json --activations x4.json --method magnitude -n --json
expect_stdout_has '"calibration_samples":4,"held_out_samples":1'
expect_stdout_has '"held_out_error":0.1543033'

# what cannot be calibrated with: no samples, numbers that are none, products that are none; one sample holds nothing out
echo '{"a":[[1,2,3,4],[4,3,2,1]],"b":[[5,2,3,4]]}' >m.json
printf '{"a":{"shape":[0,4],"dtype":"f32","data":[]},"b":[[1,2,3,4]]}' >none.json
echo '{"a":[[1,2,3,4]],"b":[[1,2,3,4]]}' >one.json
for method in obs sparsegpt wanda; do
    run prune m.json --activations none.json --method $method -o x.s24
    expect_status 3
    expect_error none.json 'a: there are no samples'
    expect_no_file x.s24
    run prune m.json --activations one.json --method $method -n
    expect_status 0
    grep -q 'held out' .stdout && fail "expected nothing to be held out"
done
echo '{"a":[[1,9,0,0],[9,1,0,0],[0,0,1,0],[0,0,0,1]],"b":[[1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]]}' >indefinite.json
run prune m.json --hessian indefinite.json -o x.s24
expect_status 3
expect_error m.json 'a: ' 'is no X'"'"'X'

# 8 bits without scales: nothing is fitted, but a mask may be chosen
printf '\001\002\003\004' | npy i8.npy '|i1' '(1, 4)'
run prune i8.npy --activations v.json --method sparsegpt -o x.s24
expect_status 2
expect_error i8.npy 'i8 without scales cannot be fitted' '--exclude' '--method wanda'
run prune i8.npy --norms n.json --method wanda --to json -o - -q
expect_stdout_has '"data":[[1,0,0,4]]'

# many tensors that another method does: one line
few few.json 12
run prune few.json --activations few.json -o few.s24
expect_status 0
grep -c 'worse on the samples held out' .stderr >count
[ "$(cat count)" -le 1 ] || fail "expected one line of methods that did worse"
expect_stderr_has 'more of 12 tensors were done by another method'

# another order of the columns is taken where the samples held out say so, and then only; the same by any number of threads
set -- few.json --activations few.json -x 't1?' -x 't[4-9]'
run prune "$@" -o few.s24 -f -q
run prune "$@" --permute -o ordered.s24 -v
expect_stderr_has 'permuted: the error on the samples held out is'
run prune "$@" --permute -o one-thread.s24 -q -T 1
expect_same ordered.s24 one-thread.s24
for file in few ordered; do
    "$S24" stats $file.s24 --tsv | awk -F '\t' '$5 == "pruned" { print $2, $15 }' >$file.errors
done
[ "$(wc -l <few.errors)" -eq 4 ] || fail "expected the errors of four tensors"
join few.errors ordered.errors | awk '$3 > $2 { worse++ } $3 < $2 { better++ } END { exit worse > 0 || better < 2 }' ||
    fail "expected less of an error on the samples held out"

# a transposable mask was wanted: there is nothing to fall back to
run prune "$model" --transposable --refit --activations "$x" -o transposable.s24
expect_status 0
grep -q 'worse' .stderr && fail "expected no word of another method"

# not finite: what is only scored is refused unless it is wanted; sums of it are nothing
f32 1 2 nan 4 | npy nan.npy '<f4' '(1, 4)'
run prune nan.npy --norms n.json -o x.s24
expect_status 3
expect_error nan.npy '[0, 2] is nan' '--allow-nonfinite'
run prune nan.npy --norms n.json --allow-nonfinite -n --json
expect_status 0
expect_stdout_has '"nonfinite_count":1'
run prune nan.npy --norms n.json --method ria --allow-nonfinite -o x.s24
expect_status 3
expect_error nan.npy 'not finite'
echo '[1,1,-1,1]' >negative.json
run prune v.json --norms negative.json -o x.s24
expect_status 3
expect_error negative.json 'the norm of input 2 is -1'
run prune v.json --activations nan.npy -o x.s24
expect_status 3
expect_error nan.npy 'not finite'
expect_no_file x.s24
