# Checkpoints of several files: a directory in, a directory or one file out, by one job or by several.
. "$LIB"

# shard FILE NAME TIMES: matrices NAME.a and NAME.b of 2x4 ones to fours, and an integer NAME.id
shard()
{
    { f32 1 2 3 4 4 3 2 1; f32 2 2 0 1 -1 -2 -4 3; printf '\007\000\000\000\000\000\000\000'; } |
        safetensors "$1" "{\"__metadata__\":{\"format\":\"pt\"},\"$2.a\":{\"dtype\":\"F32\",\"shape\":[2,4],\"data_offsets\":[0,32]},\"$2.b\":{\"dtype\":\"F32\",\"shape\":[2,4],\"data_offsets\":[32,64]},\"$2.id\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[64,72]}}"
}

index()
{
    printf '{"metadata":{"total_size":1,"note":"kept"},"weight_map":{%s}}' "$1" >"$2"
}

# checkpoint DIRECTORY
checkpoint()
{
    mkdir "$1" "$1/tokens" "$1/.cache"
    shard "$1/model-1.safetensors" one
    shard "$1/model-2.safetensors" two
    shard "$1/model-3.safetensors" three
    echo '{"hidden_size": 4}' >"$1/config.json"
    echo words >"$1/tokens/vocabulary.txt"
    echo hidden >"$1/.cache/file"
    index "$(for m in 1:one 2:two 3:three; do for t in a b id; do
        printf '%s"%s.%s":"model-%s.safetensors"' "$comma" "${m#*:}" $t "${m%:*}"; comma=,; done; done)" \
        "$1/model.safetensors.index.json"
}
comma=
checkpoint model
files='config.json model-1.safetensors model-2.safetensors model-3.safetensors model.safetensors.index.json tokens'
packed='config.json model-1.s24 model-2.s24 model-3.s24 model.s24.index.json tokens'

# ---------------------------------------------------------------- reading one

run inspect model
expect_status 0
expect_stdout_has 'model: safetensors, 9 tensors, 6 eligible'
run inspect model/model.safetensors.index.json
expect_status 0
expect_stdout_has '9 tensors, 6 eligible'
run inspect model --json
expect_stdout_has '"file":"model-2.safetensors"'
run stats model
expect_status 0
run verify model
expect_status 1
expect_stdout_has 'one.a'
expect_stdout_has 'three.b'

# ---------------------------------------------------------------- dense with zeros, in the same files

run prune model/ -o same --to same -q
expect_status 0
# shellcheck disable=SC2086 # a list
expect_only same $files
expect_same model/config.json same/config.json
expect_same model/tokens/vocabulary.txt same/tokens/vocabulary.txt
[ ! -e same/.cache ] || fail "hidden directories are not copied"
grep -q '"total_size": 216' same/model.safetensors.index.json || fail "expected the size of 3 x 72 bytes"
grep -q '"note": "kept"' same/model.safetensors.index.json || fail "expected the index's other metadata"
grep -q '"two.id": "model-2.safetensors"' same/model.safetensors.index.json || fail "expected the map"
run verify same
expect_status 0
for i in 1 2 3; do
    run prune model/model-$i.safetensors -o alone.safetensors -f -q
    expect_same alone.safetensors same/model-$i.safetensors
done
run prune model -o same --to same
expect_status 4
expect_error 'same/model-1.safetensors' 'exists already'
run prune model -o same --to same -f -q
expect_status 0
run prune model -o model --to same -f
expect_status 2
expect_error 'is the input'
run prune model -n -v
expect_status 0
expect_stderr_has 'dtype i64'

# ---------------------------------------------------------------- .s24 files, and back

run prune model -o packed -q
expect_status 0
# shellcheck disable=SC2086
expect_only packed $packed
grep -q '"two.id": "model-2.s24"' packed/model.s24.index.json || fail "expected the map of .s24 files"
run verify packed
expect_status 0
run inspect packed
expect_stdout_has 'packed: s24, 9 tensors, 6 pruned'
run decompress packed -o back -q
expect_status 0
# shellcheck disable=SC2086
expect_only back $files
for i in 1 2 3; do
    expect_same back/model-$i.safetensors same/model-$i.safetensors
done
expect_same back/model.safetensors.index.json same/model.safetensors.index.json
run prune packed -o again
expect_status 2
expect_error 'pruned already'

# files in the layouts of other tools are safetensors files, and are called so
mkdir named
{ f32 1 0 0 2 0 0 3 4; } | safetensors named/model.safetensors '{"one.weight":{"dtype":"F32","shape":[2,4],"data_offsets":[0,32]}}'
run prune named -o named.packed -q
expect_only named.packed model.s24
run convert named.packed --to sparse-24-bitmask -o named.bits -q
expect_status 0
expect_only named.bits model.safetensors
run verify named.bits
expect_status 0

# ---------------------------------------------------------------- one file

run prune model -q
expect_status 0
expect_file model.s24
run prune model -o - -q
cp .stdout piped.s24
expect_same piped.s24 model.s24
run decompress model.s24 -o whole.safetensors -q
expect_status 0
run decompress packed -o whole2.safetensors -q
expect_status 0
expect_same whole.safetensors whole2.safetensors
run decompress packed -q
expect_status 0
expect_same whole.safetensors packed.safetensors
run decompress packed --tensor two.a -o two.npy -q
expect_status 0
expect_file two.npy

# figures do not depend on how a model was split
"$S24" stats --json model.s24 | grep -o '"totals": {[^}]*}' | head -n 1 >one
"$S24" stats --json packed | grep -o '"totals": {[^}]*}' | head -n 1 >many
"$S24" stats --json model | grep -o '"totals": {[^}]*}' | head -n 1 >dense
expect_same one many
"$S24" stats --json packed/*.s24 | grep -o '"totals": {[^}]*}' | tail -n 1 >files
expect_same one files

# ---------------------------------------------------------------- gradients and originals, matched by name

run prune model --method gradient --gradients model -o graded -q
expect_status 0
run prune model/model-1.safetensors --method gradient --gradients model -o graded.s24 -q
expect_status 0
expect_same graded.s24 graded/model-1.s24
run prune model --method gradient --gradients model/model-1.safetensors -o graded2 -q
expect_status 3
expect_error 'model/model-1.safetensors' 'no gradients for tensor' 'two.a'
expect_no_file graded2
run stats packed --original model --json
expect_status 0
grep -o '"totals": {[^}]*}' .stdout | head -n 1 >recomputed
expect_same one recomputed
run stats packed --original model/model-1.safetensors
expect_status 3
expect_error 'two.a'

# ---------------------------------------------------------------- shares: whoever writes a file writes the same bytes

for share in 2/2 1/2; do
    run prune model -o shared --shards $share -q
    expect_status 0
done
diff -r packed shared >difference || fail "expected what one job writes: $(cat difference)"
run prune model -o shared --shards 1/2
expect_status 4
expect_error 'exists already'
run prune model -o few --shards 3/8 -q
expect_only few config.json model-3.s24 model.s24.index.json tokens
run prune model -o few --shards 4/8 # a job without a file of its own
expect_status 0
expect_stderr_has 'none of its files is in share 4 of 8'
run prune model -o few2 --to same --shards 2/3 --json
expect_status 0
expect_stdout_has 'two.a'
expect_stdout_lacks 'one.a'
echo other >few/config.json
run prune model -o few --shards 1/8 -q
expect_status 4
expect_error 'few/config.json' 'with other content'
expect_no_file few/model-1.s24
run prune model -o few --shards 1/8 -q -f
expect_status 0
run prune model -o x --shards 0/2
expect_usage_error prune '--shards'
run prune model -o x --shards 3/2
expect_usage_error prune '--shards'
run prune model -o x.s24 --shards 1/2
expect_usage_error prune '--shards'
run prune model/model-1.safetensors -o x --shards 1/2
expect_usage_error prune '--shards'
if command -v parallel >/dev/null; then
    parallel --will-cite -j 2 "$S24" prune model -o by-parallel --shards '{}/3' -q ::: 1 2 3 || fail "parallel"
    diff -r packed by-parallel >difference || fail "expected what one job writes: $(cat difference)"
fi
seq 3 | xargs -P 3 -I{} "$S24" prune model -o by-xargs --shards '{}/3' -q || fail "xargs"
diff -r packed by-xargs >difference || fail "expected what one job writes: $(cat difference)"

# the script for Slurm in s24-prune(1), with a stand-in for Slurm
mkdir slurm
awk '/^#!\/bin\/sh$/ { on = 1 } on && /^\.Ed$/ { exit } on { gsub(/\\e/, "\\"); print }' \
    "$DATA/../../man/s24-prune.1" >slurm/prune.sbatch
grep -q SBATCH slurm/prune.sbatch || fail "expected the script in the manual"
cp -r model slurm/checkpoint
for id in 1 2 3 4 5 6 7 8; do
    (cd slurm && PATH=$(dirname "$S24"):$PATH SLURM_ARRAY_TASK_ID=$id SLURM_ARRAY_TASK_COUNT=8 sh prune.sbatch) ||
        fail "the script for Slurm fails"
done
diff -r same slurm/pruned >difference || fail "expected what one job writes: $(cat difference)"

# ---------------------------------------------------------------- what does not fit

bad()
{
    rm -rf bad
    cp -r model bad
}

bad
rm bad/model-2.safetensors
run prune bad -o out
expect_status 3
expect_error 'bad: model-2.safetensors is missing: 1 of the 3 files'
expect_no_file out
cp -r packed partly
rm partly/model-1.s24 partly/model-3.s24
run verify partly
expect_status 3
expect_error 'model-1.s24 and others are missing: 2 of the 3 files'
bad
shard bad/model-4.safetensors four
run prune bad -o out
expect_status 3
expect_error 'model-4.safetensors is not in model.safetensors.index.json'
run prune bad/model.safetensors.index.json -o out -q
expect_status 0
rm -r out
bad
shard bad/model-2.safetensors other
run verify bad
expect_status 3
expect_error 'model-2.safetensors' 'other.a' 'not in the index'
bad
cp model/model-1.safetensors bad/model-2.safetensors
run inspect bad
expect_status 3
expect_error 'one.a' 'the index says in model-1.safetensors'
bad
{ f32 1 2 3 4; } | safetensors bad/model-2.safetensors '{"two.a":{"dtype":"F32","shape":[1,4],"data_offsets":[0,16]}}'
run inspect bad
expect_status 3
expect_error 'has no tensor two.b'
bad
cp bad/model.safetensors.index.json bad/other.safetensors.index.json
run inspect bad
expect_status 3
expect_error 'has 2 indexes'
bad
rm bad/model.safetensors.index.json
run inspect bad
expect_status 3
expect_error 'has 3 weights files'
for name in '../model/model-1.safetensors' '/tmp/x.safetensors' '.x.safetensors' 'a\nb.safetensors' '' 'x.bin'; do
    bad
    index "\"one.a\":\"$name\"" bad/model.safetensors.index.json
    run inspect bad
    expect_status 3
    expect_error 'model.safetensors.index.json: weight_map: one.a'
done
for text in '[]' '{}' '{"weight_map":[]}' '{"weight_map":{}}' '{"weight_map":{"one.a":1}}' '{"weight_map":' \
    '{"weight_map":{"one.a":"model-1.safetensors","one.a":"model-1.safetensors"}}'; do
    bad
    printf '%s' "$text" >bad/model.safetensors.index.json
    run inspect bad
    expect_status 3
    expect_error 'model.safetensors.index.json'
done
mkdir empty pickles
run inspect empty
expect_status 3
expect_error 'empty: has no .safetensors'
for name in pytorch_model.bin model.pt weights.pth; do
    echo x >pickles/$name
    run inspect pickles
    expect_status 3
    expect_error 'safetensors.torch.save_file'
    rm pickles/$name
done
echo x >pickles/weights.txt
run inspect pickles
expect_status 3
expect_error 'pickles: has no .safetensors'

# a directory with one file needs no index
mkdir single
shard single/model.safetensors one
echo '{}' >single/config.json
run prune single -o single-out -q
expect_status 0
expect_only single-out config.json model.s24
run decompress single-out -o single-back -q
expect_only single-back config.json model.safetensors

# a failure at the last moment leaves nothing, and an old output as it was
bad
{ f32 nan 2 3 4; f32 1 2 3 4; } | safetensors bad/model-3.safetensors '{"three.a":{"dtype":"F32","shape":[2,4],"data_offsets":[0,32]}}'
sed -i 's/,"three.b":"model-3.safetensors","three.id":"model-3.safetensors"//' bad/model.safetensors.index.json
run prune bad -o out
expect_status 3
expect_error 'bad/model-3.safetensors: three.a'
expect_no_file out
cp -r packed old
run prune bad -o old -f
expect_status 3
diff -r packed old >difference || fail "expected the old output: $(cat difference)"
run prune model -o packed/x.onnx
expect_usage_error prune
run prune model -o out --to npy
expect_usage_error prune '--to npy'
run prune . -q
expect_usage_error prune 'give --output'

# what the index does not list is left out, and is in nobody's way
cp -r model others
shard others/extra.safetensors extra
echo x >others/model-2.s24
run prune others -o out
expect_status 3
expect_error 'move it away, or give the index itself'
echo x >others/old.s24.index.json
run prune others -o out
expect_status 3
expect_error 'has 2 indexes'
run prune others/model.safetensors.index.json -o listed -q
expect_status 0
# shellcheck disable=SC2086
expect_only listed $packed
expect_same packed/model-2.s24 listed/model-2.s24

# ---------------------------------------------------------------- never onto the input

# links in the output that lead back, by one job or by one of several
cp -r model guarded
mkdir astray
for f in config.json model.safetensors.index.json tokens; do
    ln -s "../guarded/$f" "astray/$f"
    for share in '' '--shards 1/1'; do
        # shellcheck disable=SC2086 # none, or two words
        run prune guarded -o astray --to same -f -q $share
        expect_status 2
        expect_error "astray/$f" 'the input; choose another output'
        diff -r model guarded >difference || fail "expected the input as it was: $(cat difference)"
    done
    rm "astray/$f"
done
expect_only astray
mv guarded/config.json blob # as a cache keeps files: links on both sides
ln -s ../blob guarded/config.json
ln -s ../blob astray/config.json
run prune guarded -o astray --to same -f -q
expect_status 2
expect_error 'astray/config.json: is the input'
expect_same model/config.json blob

# a directory of the input's own name in it, and the output around it
mkdir around
cp -r model around/inner
mkdir around/inner/inner
echo '{"other": 1}' >around/inner/inner/config.json
cp -r around/inner before
run prune around/inner -o around -f
expect_status 2
expect_error 'around/inner/config.json: lies in the input'
diff -r before around/inner >difference || fail "expected the input as it was: $(cat difference)"

# an output in the input is no part of it
run prune around/inner -o around/inner/packed -q
expect_status 0
expect_file around/inner/packed/model-1.s24
expect_no_file around/inner/packed/packed

# a .s24 of a checkpoint that is damaged is named
printf 'X' | dd of=packed/model-2.s24 bs=1 seek=2200 conv=notrunc 2>/dev/null
run verify packed
expect_status 1
expect_stdout_has 'packed/model-2.s24: '
run verify packed --json
expect_status 1
expect_stdout_has '"file":"packed/model-2.s24"'
