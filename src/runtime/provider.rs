//! Execution providers: which there are, and how they are asked for.

use std::{fmt, str::FromStr};

use ort::ep::{self, ExecutionProvider as _, ExecutionProviderDispatch};

use crate::error::{Error, Result};

/// An execution provider of ONNX Runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Provider {
    /// The processor; always there.
    Cpu,
    /// NVIDIA GPUs.
    Cuda,
    /// NVIDIA GPUs through TensorRT engines.
    TensorRt,
    /// Intel processors and GPUs.
    OpenVino,
    /// Apple devices.
    CoreMl,
    /// Windows GPUs.
    DirectMl,
    /// Mobile and small processors.
    Xnnpack,
}

impl Provider {
    /// All providers, in the order in which [`ProviderChoice::Auto`] tries them.
    pub const ALL: [Self; 7] = [
        Self::Cuda,
        Self::TensorRt,
        Self::CoreMl,
        Self::DirectMl,
        Self::OpenVino,
        Self::Xnnpack,
        Self::Cpu,
    ];

    /// The name in manifests and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
            Self::OpenVino => "openvino",
            Self::CoreMl => "coreml",
            Self::DirectMl => "directml",
            Self::Xnnpack => "xnnpack",
        }
    }

    /// Whether the loaded ONNX Runtime was built with it. That says nothing about its own
    /// libraries, nor about the device: only making a session does.
    pub(crate) fn is_built_in(self) -> bool {
        let answer = match self {
            Self::Cpu => return true,
            Self::Cuda => ep::CUDA::is_available(),
            Self::TensorRt => ep::TensorRT::is_available(),
            Self::OpenVino => ep::OpenVINO::is_available(),
            Self::CoreMl => ep::CoreML::is_available(),
            Self::DirectMl => ep::DirectML::is_available(),
            Self::Xnnpack => ep::XNNPACK::is_available(),
        };
        answer.unwrap_or(false)
    }

    /// What a session is given; `None` for the processor, which needs no registration.
    pub(crate) fn dispatch(self) -> Option<ExecutionProviderDispatch> {
        let dispatch = match self {
            Self::Cpu => return None,
            Self::Cuda => ep::CUDA::default().build(),
            Self::TensorRt => ep::TensorRT::default().build(),
            Self::OpenVino => ep::OpenVINO::default().build(),
            Self::CoreMl => ep::CoreML::default().build(),
            Self::DirectMl => ep::DirectML::default().build(),
            Self::Xnnpack => ep::XNNPACK::default().build(),
        };
        Some(dispatch.error_on_failure())
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Which execution provider a model shall run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProviderChoice {
    /// The first of [`Provider::ALL`] that the library has, the bundle has graphs for, and that
    /// starts. One that should start and does not leaves a warning in
    /// [`Model::warnings`](crate::Model::warnings).
    #[default]
    Auto,
    /// This one or none.
    Only(Provider),
}

impl FromStr for ProviderChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let known = Provider::ALL
            .into_iter()
            .find(|provider| provider.name() == text);
        known.map(Self::Only).ok_or_else(|| Error::InvalidOption {
            option: "provider",
            value: text.to_owned(),
            allowed: format!("auto, {}", Provider::ALL.map(Provider::name).join(", ")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        assert_eq!(
            "auto".parse::<ProviderChoice>().unwrap(),
            ProviderChoice::Auto
        );
        for provider in Provider::ALL {
            let choice = provider.name().parse::<ProviderChoice>().unwrap();
            assert_eq!(choice, ProviderChoice::Only(provider));
        }
        let error = "gpu".parse::<ProviderChoice>().unwrap_err().to_string();
        assert!(error.contains("gpu") && error.contains("cuda"), "{error}");
    }
}
