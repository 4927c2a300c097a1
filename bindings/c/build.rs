//! Gives the shared library its soname: in versions 0.x the minor version is part of it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let part = |name: &str| std::env::var(name).unwrap_or_default();
    if part("CARGO_CFG_TARGET_OS") == "linux" {
        let (major, minor) = (
            part("CARGO_PKG_VERSION_MAJOR"),
            part("CARGO_PKG_VERSION_MINOR"),
        );
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libsllm_ort.so.{major}.{minor}");
    }
}
