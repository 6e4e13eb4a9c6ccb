# Elements that are no whole bytes come along, to every layout of tensors, in files and through pipes.
. "$LIB"

{ head -c 4096 /dev/zero; printf '\001\002\003\004\005\006'; } | safetensors in.safetensors \
    '{"w.weight":{"dtype":"F16","shape":[32,64],"data_offsets":[0,4096]},"four":{"dtype":"F4","shape":[3,4],"data_offsets":[4096,4102]}}'
run prune in.safetensors -o m.s24 -q
expect_status 0
run decompress m.s24 -o dense.safetensors -q
expect_status 0
for layout in safetensors sparse-24-bitmask cutlass; do
    run convert m.s24 --to $layout -o out.safetensors -f -q
    expect_status 0
    run convert m.s24 --to $layout -o - -q
    expect_status 0
    expect_same .stdout out.safetensors
    run convert out.safetensors -o again.s24 -f -q
    expect_status 0
    run decompress again.s24 -o again.safetensors -f -q
    expect_status 0
    expect_same dense.safetensors again.safetensors
done
