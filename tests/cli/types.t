# Files of types that are known and not read: they are named, with what to do instead.
. "$LIB"

# refuses FILE NAME ADVICE: every command that reads a file says so, in one line
refuses()
{
    for command in prune inspect verify stats; do
        run "$command" "$1"
        expect_status 3
        expect_no_stdout
        expect_error "s24: $1: is $2, which s24 does not read; " "$3"
    done
    run inspect - <"$1"
    expect_error "standard input: is $2"
    expect_only . "$1"
    rm "$1"
}

printf 'GGUF\003\000\000\000rest' >x.gguf
refuses x.gguf 'a GGUF file' 'prune the safetensors model'

# torch.save before 1.6, and with another protocol; what pickle.dump writes
printf '\200\002\212\012\154\374\234\106\371\040\152\250\120\031.' >x.pt
refuses x.pt 'a PyTorch file' 'safetensors.torch.save_file'
printf '\200\002}q\000.' >x.pkl
refuses x.pkl 'a Python pickle' 'numpy.savez'
printf '\200\003cnumpy.core.multiarray\n_reconstruct\n' >x.pkl
refuses x.pkl 'a Python pickle' 'numpy.savez'
printf '\200\004\225\012\000\000\000\000\000\000\000}' >x.pkl
refuses x.pkl 'a Python pickle' 'numpy.savez'

printf '\211HDF\r\n\032\n\000\000' >x.h5
refuses x.h5 'an HDF5 file' 'numpy.savez'
printf '\034\000\000\000TFL3\000' >x.tflite
refuses x.tflite 'a TensorFlow Lite model' 'prune the weights'

# ONNX: as PyTorch and skl2onnx export it, as onnx.helper makes it, with a long text
printf '\010\007\022\007pytorch\032\0052.0.1:\264\001\012\066\012\001x' >x.onnx
refuses x.onnx 'an ONNX model' '.npz or safetensors'
printf '\010\010\022\010skl2onnx\032\0061.14.0"\007ai.onnx(\0002\000:\264\001\022\004name' >x.onnx
refuses x.onnx 'an ONNX model' '.npz or safetensors'
printf '\010\012:\044\012\020\012\001x' >x.onnx
refuses x.onnx 'an ONNX model' '.npz or safetensors'
{ printf '\010\007\022\007pytorch2\320\017' && noise 2000; } >x.onnx
refuses x.onnx 'an ONNX model' '.npz or safetensors'

printf '\037\213\010\000rest' >x.gz
refuses x.gz 'compressed with gzip' 'gzip -dc FILE | s24 COMMAND -'
printf '\050\265\057\375rest' >x.zst
refuses x.zst 'compressed with zstd' 'zstd -dc FILE'
printf '\3757zXZ\000rest' >x.xz
refuses x.xz 'compressed with xz' 'xz -dc FILE'
printf 'BZh91AY&SYrest' >x.bz2
refuses x.bz2 'compressed with bzip2' 'bzip2 -dc FILE'

# What only looks a little like them is not named: small numbers as protobuf, text, the middle of a float.
for data in '\010' '\010\007' '\010\007\022\003\001\002\003' '\010\000:\044\012' '\010\012:\044\077' '\010\012:\000\012' \
    '\010\377:\044\012' '\010\007\032\001x\022\001y:\044\012' '\010\007\022\004pyto' \
    '\010\010\010\010\010\010\010\010' '\200\001}' '\200\002\000' '\200\006}' '\200' 'GGU' 'BZh9 is text' 'TFL3' \
    '\037\213\007' '\211HDF\n'; do
    # shellcheck disable=SC2059 # the octal digits are the format
    printf "$data" >x
    run inspect x
    expect_status 3
    expect_error 'x: is no known type of weights file'
done

# Whoever says what it is is believed.
for data in 'GGUF' '\010\012:\044\012\020\012\001' '\037\213\010\000' '\200\002\212\012' '\050\265\057\375'; do
    # shellcheck disable=SC2059
    printf "$data" >x
    run inspect x --from raw --raw-dtype i8 --shape "$(size_of x)"
    expect_status 0
    expect_stdout_has 'x: raw, 1 tensor, 1 eligible'
done

# A way that is advised works.
if command -v gzip >/dev/null; then
    gzip -c "$digits/fc1.weight.npy" >w.npy.gz
    run inspect w.npy.gz
    expect_status 3
    gzip -dc w.npy.gz | "$S24" prune -q - -o w.s24 || fail "expected gzip -dc | s24 prune to work"
    run verify w.s24
    expect_status 0
fi
