//! Why an execution provider does not start.

use std::{
    env::consts::{DLL_PREFIX, DLL_SUFFIX},
    path::{Path, PathBuf},
};

use super::{Provider, library_info};
use crate::error::{Error, RuntimeError};

/// The error of a provider that could not be registered, with the file that is missing if one is.
pub(super) fn start_error(provider: Provider, source: ort::Error) -> Error {
    let problem = match missing_part(provider) {
        Some(path) => format!("{} is missing", path.display()),
        None => match missing_library(&source.to_string()) {
            Some((needed, part)) => format!(
                "{needed}, which {part} needs, is not installed where the system's loader looks"
            ),
            None => "its own libraries refuse to".into(),
        },
    };
    Error::Runtime(RuntimeError::ProviderStart {
        provider: provider.name(),
        problem,
        source: source.into(),
    })
}

/// The first file of the provider that should be beside the loaded library and is not.
///
/// `None` too if that library's folder is not known.
pub(crate) fn missing_part(provider: Provider) -> Option<PathBuf> {
    let library = library_info()?.path.canonicalize().ok()?;
    missing_beside(library.parent()?, provider)
}

fn missing_beside(folder: &Path, provider: Provider) -> Option<PathBuf> {
    let file = |part: &&str| folder.join(format!("{DLL_PREFIX}{part}{DLL_SUFFIX}"));
    let mut files = provider.parts().iter().map(file);
    files.find(|file| !file.is_file())
}

/// The library that could not be found, and the one that needs it, from what ONNX Runtime passes on
/// of the words of glibc's loader.
fn missing_library(message: &str) -> Option<(&str, &str)> {
    let (_, rest) = message.split_once("Failed to load library ")?;
    let (part, rest) = rest.split_once(" with error: ")?;
    let (needed, _) = rest.split_once(": cannot open shared object file")?;
    Some((needed, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_file_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let name = |part: &str| format!("{DLL_PREFIX}{part}{DLL_SUFFIX}");
        let missing = |provider| {
            let path = missing_beside(folder.path(), provider)?;
            Some(path.file_name().unwrap().to_str().unwrap().to_owned())
        };
        assert_eq!(missing(Provider::Cpu), None);
        let shared = name("onnxruntime_providers_shared");
        assert_eq!(missing(Provider::Cuda).as_ref(), Some(&shared));
        std::fs::write(folder.path().join(shared), "").unwrap();
        let cuda = name("onnxruntime_providers_cuda");
        assert_eq!(missing(Provider::Cuda).as_ref(), Some(&cuda));
        std::fs::write(folder.path().join(cuda), "").unwrap();
        assert_eq!(missing(Provider::Cuda), None);
        let tensorrt = name("onnxruntime_providers_tensorrt");
        assert_eq!(missing(Provider::TensorRt), Some(tensorrt));
    }

    /// The words of ONNX Runtime 1.31.1's GPU build without the libraries of CUDA 13.
    #[test]
    fn the_missing_library_is_named() {
        crate::runtime::environment(None).unwrap(); // Makes the library's errors.
        let message = "ProviderLibrary::Get() [ONNXRuntimeError] : 1 : FAIL : Failed to load library \
            /gpu/libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot open shared \
            object file: No such file or directory";
        let source = ort::Error::new(message);
        let Error::Runtime(RuntimeError::ProviderStart { problem, .. }) =
            start_error(Provider::Xnnpack, source)
        else {
            panic!("another error");
        };
        insta::assert_snapshot!(problem, @"libcublasLt.so.13, which /gpu/libonnxruntime_providers_cuda.so needs, is not installed where the system's loader looks");
        let other = start_error(Provider::Xnnpack, ort::Error::new("no device"));
        insta::assert_snapshot!(other.to_string(), @r#"execution provider "xnnpack" cannot start: its own libraries refuse to: install what is missing, or use another provider"#);
    }
}
