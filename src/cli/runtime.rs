//! Which ONNX Runtime is used: one search for all commands.

use std::path::PathBuf;

use clap::Args;
use sllm_ort::{Error, LibraryInfo, load_library};

#[derive(Args, Clone, Debug)]
pub struct RuntimeArgs {
    /// ONNX Runtime library to load, or its folder [default: search the usual places]
    #[arg(long, value_name = "PATH", env = "SLLM_ORT_ONNXRUNTIME")]
    pub onnxruntime: Option<PathBuf>,
}

impl RuntimeArgs {
    /// Find and load the library; its path is that of the file itself, links resolved.
    pub fn find(&self) -> Result<LibraryInfo, Error> {
        let mut library = load_library(self.onnxruntime.as_deref())?;
        if let Ok(path) = library.path.canonicalize() {
            library.path = path;
        }
        Ok(library)
    }
}
