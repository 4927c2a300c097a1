#!/bin/sh
# Tests on 64-bit ARM, emulated by QEMU, on Debian 12 (x86-64): compiler, standard library, linker and
# emulator come from Debian's packages and are unpacked into a folder; nothing is installed.
# usage: run.sh FOLDER ORT_VERSION PYTHON
set -eu
mkdir -p "$1"
folder=$(cd "$1" && pwd) version=$2 python=$3
root=$folder/root cross=$folder/root/usr/aarch64-linux-gnu

fetch_packages() {
    mkdir -p "$folder/apt/lists/partial" "$folder/apt/archives/partial" "$folder/packages"
    : > "$folder/apt/status"
    apt() {
        apt-get -qq -o Dir::State="$folder/apt" -o Dir::State::status="$folder/apt/status" \
            -o Dir::Cache="$folder/apt" -o APT::Architecture=amd64 \
            -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 \
            -o APT::Sandbox::User=root "$@"
    }
    apt update
    (
        cd "$folder/packages"
        # The compiler is that of Debian's browsers, which is as new as ours must be.
        apt download rustc-web libstd-rust-web-dev libstd-rust-web-dev:arm64 libllvm22
        library=$(dpkg-deb -f libstd-rust-web-dev_*_amd64.deb Depends | cut -d ' ' -f 1)
        apt download "$library" "$library:arm64"
        apt download qemu-user-static binutils-aarch64-linux-gnu cpp-12-aarch64-linux-gnu \
            gcc-12-aarch64-linux-gnu libgcc-12-dev-arm64-cross libgcc-s1-arm64-cross libc6-arm64-cross \
            libc6-dev-arm64-cross linux-libc-dev-arm64-cross libstdc++6-arm64-cross libisl23 libmpc3 libmpfr6
    )
    rm -rf "$root"
    for package in "$folder"/packages/*.deb; do
        dpkg -x "$package" "$root"
    done
}

# ONNX Runtime looks for the processors there, and the emulator shows it the host's.
write_processors() {
    mkdir -p "$cross/proc"
    for number in 0 1; do
        printf 'processor\t: %s\nFeatures\t: fp asimd fphp asimdhp asimddp\n' $number
        printf 'CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x3\n'
        printf 'CPU part\t: 0xd0c\nCPU revision\t: 1\n\n'
    done > "$cross/proc/cpuinfo"
}

# Wrappers, since the programs look for their libraries and files in the folders of a system.
write_wrappers() {
    cat > "$folder/rustc" << END
#!/bin/sh
export LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu:$root/usr/lib/llvm-22/lib
exec $root/usr/bin/rustc "\$@"
END
    gcc=$root/usr/lib/gcc-cross/aarch64-linux-gnu/12
    cat > "$folder/cc" << END
#!/bin/sh
export LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu PATH=$root/usr/bin:\$PATH
exec $root/usr/bin/aarch64-linux-gnu-gcc-12 --sysroot=$root -B$gcc/ -B$cross/lib/ -L$cross/lib -L$gcc "\$@"
END
    chmod +x "$folder/rustc" "$folder/cc"
}

fetch_runtime() {
    rm -rf "$folder/wheel"
    "$python" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
        --platform manylinux_2_28_aarch64 --dest "$folder/wheel" "onnxruntime==$version"
    "$python" -m zipfile -e "$folder"/wheel/*.whl "$folder/wheel"
    cp "$folder/wheel/onnxruntime/capi/libonnxruntime.so.$version" "$folder/libonnxruntime.so"
}

[ -e "$folder/ready-$version" ] || {
    fetch_packages
    write_processors
    write_wrappers
    fetch_runtime
    touch "$folder/ready-$version"
}
export RUSTC="$folder/rustc" CARGO_TARGET_DIR="$folder/target" ORT_DYLIB_PATH="$folder/libonnxruntime.so"
export CC_aarch64_unknown_linux_gnu="$folder/cc" AR_aarch64_unknown_linux_gnu=ar
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER="$folder/cc"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$root/usr/bin/qemu-aarch64-static -cpu neoverse-n1 -L $cross"
exec cargo test --locked --target aarch64-unknown-linux-gnu --no-default-features --lib
