//! Prints the header of the C library, generated from its sources.

use std::{error::Error, io, path::Path};

/// In the order of the header.
const SOURCES: [&str; 17] = [
    "version",
    "status",
    "buffer",
    "texts",
    "cancel",
    "load_options",
    "model",
    "vectors",
    "segment",
    "logits",
    "options",
    "options/functions",
    "session",
    "snapshot",
    "callbacks",
    "generation",
    "finish_reason",
];

fn main() -> Result<(), Box<dyn Error>> {
    generate()?.write(io::stdout());
    Ok(())
}

fn generate() -> Result<cbindgen::Bindings, Box<dyn Error>> {
    let library = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let config = cbindgen::Config::from_file(library.join("cbindgen.toml"))?;
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in SOURCES {
        builder = builder.with_src(library.join(format!("src/{source}.rs")));
    }
    Ok(builder.generate()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_that_of_the_sources() {
        let mut generated = Vec::new();
        generate().unwrap().write(&mut generated);
        let committed = include_bytes!("../include/sllm_ort.h");
        assert!(
            generated == committed,
            "bindings/c/include/sllm_ort.h is not that of the sources: run `make c-header`"
        );
    }
}
