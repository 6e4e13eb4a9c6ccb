# stats: recorded, recomputed, of dense files; as text, JSON and TSV; in order; with conditions.
. "$LIB"

cp "$digits/digits.safetensors" d.safetensors
run prune d.safetensors -q
run stats d.s24
expect_status 0
expect_no_stderr
expect_stdout_has d.s24
expect_stdout_has '3 of 6 tensors are carried as they are'
for tensor in fc1.weight fc2.weight fc3.weight total; do
    grep -q "^$tensor " .stdout || fail "expected a line for $tensor"
done
run stats d.s24 -v
expect_stdout_has 'rank 1: no matrix'

# recorded, recomputed and forecast figures are the same, to the last digit
"$S24" stats d.s24 --json | sed 's/"s24"/"?"/; s/"d.s24"/"?"/' >recorded || fail 'stats --json'
"$S24" stats d.s24 --original d.safetensors --json | sed 's/"s24"/"?"/; s/"d.s24"/"?"/' >recomputed || fail '--original'
"$S24" stats d.safetensors --json | sed 's/"safetensors"/"?"/; s/"d.safetensors"/"?"/' >dense || fail 'of a dense file'
expect_same recorded recomputed
# of a dense file also what it is before that
sed 's/,"input_zeros":0,"groups":[0-9]*,"compliant_groups":0//' dense >forecast
! cmp -s dense forecast || fail 'expected input_zeros, groups and compliant_groups'
expect_same recorded forecast
run stats d.s24 --original "$digits/fc1.weight.npy"
expect_status 3
expect_error
run stats d.s24 --original d.s24
expect_status 2
expect_error d.s24
f32 1 2 3 4 4 3 2 1 >w.raw
run prune w.raw --from raw --raw-dtype f32 --shape 2,4 -q
run stats w.s24 --original w.raw --from raw --raw-dtype f32 --shape 2,4 --json
expect_status 0
expect_stdout_has '"relative_error":0.40824829046386'

# the keys of the contract, in one object a line
run stats d.s24 --json
expect_status 0
expect_stdout_has '{"schema": "s24.stats/1", "version": "'
expect_stdout_has '{"path": "d.s24", "format": "s24", "archive": false, "tensors": ['
grep -F '{"name":"fc1.weight"' .stdout >line || fail "expected an object for fc1.weight"
for key in name dtype stored_dtype shape axis status reason method pruned_count total_count approximation_error \
    kept_magnitude_mean pruned_magnitude_mean relative_error max_abs_error sparsity_percent nonfinite_count \
    bytes_dense bytes_stored bits_per_element scales permuted; do
    grep -F -q "\"$key\":" line || fail "expected the key $key"
done
[ "$(tr -cd : <line | wc -c)" -eq 22 ] || fail "expected 22 keys"
grep -F -q '"dtype":"f32","stored_dtype":"f32","shape":[128,64],"axis":1,"status":"pruned","reason":null,"method":"magnitude","pruned_count":4096,"total_count":8192,' line || fail "expected other values of fc1.weight"
grep -F -q '"relative_error":0.3807219584127' line || fail "expected another relative error of fc1.weight"
grep -F '{"name":"fc1.bias"' .stdout >line
grep -F -q '"axis":null,"status":"dense","reason":"rank 1: no matrix","method":null,"pruned_count":null' line ||
    fail "expected other values of fc1.bias"
[ "$(grep -c '"totals": {' .stdout)" -eq 2 ] || fail "expected totals of the file and of all"
if command -v python3 >/dev/null; then
    python3 -m json.tool .stdout >/dev/null || fail "expected valid JSON"
fi

# TSV
run stats d.s24 --tsv
expect_status 0
[ "$(head -n 1 .stdout | tr '\t' ' ')" = 'path name dtype shape status relative_error approximation_error kept_magnitude_mean pruned_magnitude_mean pruned_count total_count bytes_dense bytes_stored output_error held_out_error' ] || fail "expected other names of fields"
[ "$(wc -l <.stdout)" -eq 7 ] || fail "expected 7 lines"
[ "$(awk -F '\t' 'NF != 15' .stdout | wc -l)" -eq 0 ] || fail "expected 15 fields in every line"
grep -q '^d.s24	fc1.weight	f32	128,64	pruned	0.3807219584127' .stdout || fail "expected other fields of fc1.weight"

# order
order()
{
    awk -F '\t' 'NR > 1 { printf "%s ", $2 }' .stdout
}
run stats d.s24 --tsv --sort name
[ "$(order)" = 'fc1.bias fc1.weight fc2.bias fc2.weight fc3.bias fc3.weight ' ] || fail "expected the order of names"
run stats d.s24 --tsv --sort error
[ "$(order)" = 'fc1.weight fc3.weight fc2.weight fc1.bias fc2.bias fc3.bias ' ] || fail "expected the order of errors"
run stats d.s24 --tsv --sort size
[ "$(order)" = 'fc1.weight fc2.weight fc3.weight fc1.bias fc2.bias fc3.bias ' ] || fail "expected the order of sizes"

# several files, exact totals: those of the whole model do not depend on how it is split, nor on the order
for i in 1 2 3; do
    cp "$digits/fc$i.weight.npy" .
done
run prune fc1.weight.npy fc2.weight.npy fc3.weight.npy -q
run stats fc3.weight.s24 fc1.weight.s24 fc2.weight.s24 --json
expect_status 0
tail -n 1 .stdout >one
run stats fc1.weight.s24 fc2.weight.s24 fc3.weight.s24 --json
tail -n 1 .stdout >two
expect_same one two
run stats fc1.weight.s24 fc2.weight.s24
expect_stdout_has '2 files'
expect_stdout_has '8192 of 16384'

# conditions
run stats d.s24 --fail-if 'relative_error>0.36'
expect_status 1
expect_stdout_has fc1.weight
expect_stderr_has 's24: d.s24: fc1.weight: relative_error is 0.380722'
expect_stderr_has 's24: d.s24: fc3.weight: relative_error is 0.364522'
expect_stderr_lacks fc2.weight
[ "$(wc -l <.stderr)" -eq 2 ] || fail "expected two lines on stderr"
for condition in 'relative_error>0.4' 'relative_error > 0.4' 'pruned_count<320' 'nonfinite_count>0' \
    'sparsity_percent<50' 'max_abs_error>=1' 'bytes_stored>32768' 'relative_error<=-1e9'; do
    run stats d.s24 --fail-if "$condition"
    expect_status 0
    expect_no_stderr
done
for condition in 'pruned_count<=320' 'total_count>=8192' 'sparsity_percent>=50' 'approximation_error<0.031' \
    'kept_magnitude_mean>.4' 'bytes_dense<1000'; do
    run stats d.s24 --fail-if "$condition" -q
    expect_status 1
    expect_no_stderr
done
run stats d.s24 --fail-if 'relative_error>1' --fail-if 'pruned_count<=320' --json
expect_status 1
expect_stderr_has fc3.weight

# a dense file: what it is now, and what 2:4 would cost
run stats "$digits/fc1.weight.npy"
expect_status 0
expect_stdout_has 'what 2:4 would make of it'
expect_stdout_has 'groups 2:4 already     0 of 2048'
run decompress fc1.weight.s24 -o sparse.npy
run stats sparse.npy
expect_status 0
expect_stdout_has packed
expect_stdout_has '2048 of 2048'

# figures that there are
run stats "$digits/fc1.weight.npy" --fail-if 'rel_error>0.1'
expect_usage_error stats 'there are pruned_count total_count approximation_error'

# of a dense file of which nothing is selected it says so
run stats d.safetensors --exclude '*'
expect_status 5
expect_error 'no tensor is eligible'

# a drawing: a bar for each figure of each tensor, in the order of --sort; names escaped; never onto an input
run stats d.s24 --svg d.svg --sort error
expect_status 0
expect_file d.svg
[ "$(grep -c '^<svg ' d.svg)" -eq 1 ] || fail "expected a drawing"
[ "$(grep -o '<title>fc[123].weight, relative error of the weights: [0-9.]*' d.svg | tr '\n' ' ')" = \
    '<title>fc1.weight, relative error of the weights: 0.380722 <title>fc3.weight, relative error of the weights: 0.364522 <title>fc2.weight, relative error of the weights: 0.324604 ' ] ||
    fail "expected other bars"
grep -q '3 of 6 tensors are dense, and not drawn' d.svg || fail "expected a word on what is not drawn"
! grep -q 'output' d.svg || fail "expected no bars of what is not known"
run stats d.s24 --svg d.svg
expect_status 4
expect_stderr_has 'd.svg'
run stats d.s24 --svg d.svg -f -q
expect_status 0
run stats d.s24 --svg d.s24 -f
expect_usage_error stats "would replace an input"
run stats d.s24 --svg -
expect_usage_error stats '--svg needs a file'
f32 1 2 3 4 | safetensors odd.safetensors '{"a<b>&\"c\u0007":{"dtype":"F32","shape":[1,4],"data_offsets":[0,16]}}'
run stats odd.safetensors --svg odd.svg
expect_status 0
grep -F -q 'a&lt;b&gt;&amp;&quot;c\x07' odd.svg || fail "expected the name escaped"
if command -v xmllint >/dev/null; then
    xmllint --noout d.svg odd.svg || fail "expected XML"
fi
awk 'BEGIN { printf "{"; for (i = 0; i < 1002; i++) printf "%s\"t%d\":[[1,2,3,4]]", i ? "," : "", i; print "}" }' >many.json
run stats many.json --svg many.svg -q
expect_status 0
grep -q 'The first 1000 of 1002 are drawn' many.svg || fail "expected a word on what is not drawn"
