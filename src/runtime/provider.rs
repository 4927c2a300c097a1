//! Execution providers, and how to choose one.

use std::{fmt, str::FromStr};

use ort::ep::{self, ExecutionProvider as _, ExecutionProviderDispatch};

use super::ProviderOptions;
use crate::error::{Error, Result};

/// An execution provider of ONNX Runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Provider {
    /// The CPU; always available.
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

    /// ONNX Runtime's name for it.
    #[must_use]
    pub fn runtime_name(self) -> &'static str {
        match self {
            Self::Cpu => ep::CPU::NAME,
            Self::Cuda => ep::CUDA::NAME,
            Self::TensorRt => ep::TensorRT::NAME,
            Self::OpenVino => ep::OpenVINO::NAME,
            Self::CoreMl => ep::CoreML::NAME,
            Self::DirectMl => ep::DirectML::NAME,
            Self::Xnnpack => ep::XNNPACK::NAME,
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

    /// The files beside the ONNX Runtime library that it is loaded from, without the marks of the
    /// operating system; none for those that are part of that library.
    pub(crate) fn parts(self) -> &'static [&'static str] {
        match self {
            Self::Cuda => &["onnxruntime_providers_shared", "onnxruntime_providers_cuda"],
            Self::TensorRt => &[
                "onnxruntime_providers_shared",
                "onnxruntime_providers_tensorrt",
            ],
            Self::OpenVino => &[
                "onnxruntime_providers_shared",
                "onnxruntime_providers_openvino",
            ],
            Self::Cpu | Self::CoreMl | Self::DirectMl | Self::Xnnpack => &[],
        }
    }

    /// What the session of a graph is given; `None` for the processor, which needs no registration.
    pub(crate) fn dispatch(
        self,
        options: &ProviderOptions,
        engine: &EngineSettings,
    ) -> Option<ExecutionProviderDispatch> {
        let dispatch = match self {
            Self::Cpu => return None,
            Self::Cuda => cuda(options).build(),
            Self::TensorRt => tensorrt(options, engine).build(),
            Self::OpenVino => ep::OpenVINO::default().build(),
            Self::CoreMl => ep::CoreML::default().build(),
            Self::DirectMl => ep::DirectML::default().build(),
            Self::Xnnpack => ep::XNNPACK::default().build(),
        };
        Some(dispatch.error_on_failure())
    }
}

/// What TensorRT is told of one graph.
#[derive(Clone, Debug, Default)]
pub(crate) struct EngineSettings {
    /// Engines of different weights must not be called the same in one cache.
    pub prefix: String,
    /// The least, usual and largest shapes of the inputs.
    pub shapes: Option<[String; 3]>,
}

fn cuda(options: &ProviderOptions) -> ep::CUDA {
    // TF32 would round the products of `portable`, which is the reference, to 10 bits.
    let mut provider = ep::CUDA::default().with_tf32(false);
    if let Some(device) = options.device {
        provider = provider.with_device_id(device as i32);
    }
    if let Some(bytes) = options.memory_limit {
        provider = provider.with_memory_limit(bytes);
    }
    provider
}

fn tensorrt(options: &ProviderOptions, engine: &EngineSettings) -> ep::TensorRT {
    let mut provider = ep::TensorRT::default();
    if let Some(device) = options.device {
        provider = provider.with_device_id(device as i32);
    }
    if let Some(directory) = &options.engine_cache {
        provider = provider
            .with_engine_cache(true)
            .with_engine_cache_path(directory.display())
            .with_engine_cache_prefix(&engine.prefix);
    }
    if let Some([least, usual, largest]) = &engine.shapes {
        provider = provider
            .with_profile_min_shapes(least)
            .with_profile_opt_shapes(usual)
            .with_profile_max_shapes(largest);
    }
    provider
}

impl fmt::Display for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Which execution provider to run a model on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProviderChoice {
    /// The first of [`Provider::ALL`] that the library has, that the bundle has graphs for, and
    /// that starts. A provider that fails to start leaves a warning in
    /// [`Model::warnings`](crate::Model::warnings).
    #[default]
    Auto,
    /// This provider, or an error.
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

    /// The providers are told what was asked for, in the words of ONNX Runtime's documentation.
    #[test]
    fn options_reach_the_provider() {
        let options = ProviderOptions::default()
            .with_device(3)
            .and_then(|options| options.with_memory_limit(1 << 30))
            .and_then(|options| options.with_engine_cache("engines"))
            .unwrap();
        let engine = EngineSettings {
            prefix: "decoder".into(),
            shapes: Some(["a:1", "a:2", "a:3"].map(String::from)),
        };
        let told = format!("{:?}", cuda(&options));
        for text in [
            "device_id",
            "\"3\"",
            "gpu_mem_limit",
            "1073741824",
            "use_tf32",
        ] {
            assert!(told.contains(text), "{text}: {told}");
        }
        let told = format!("{:?}", tensorrt(&options, &engine));
        for text in [
            "device_id",
            "\"3\"",
            "trt_engine_cache_enable",
            "trt_engine_cache_path",
            "engines",
            "trt_engine_cache_prefix",
            "trt_profile_min_shapes",
            "trt_profile_opt_shapes",
            "trt_profile_max_shapes",
            "a:3",
        ] {
            assert!(told.contains(text), "{text}: {told}");
        }
        let told = format!("{:?}", tensorrt(&ProviderOptions::default(), &engine));
        assert!(
            !told.contains("device_id") && !told.contains("cache"),
            "{told}"
        );
    }
}
