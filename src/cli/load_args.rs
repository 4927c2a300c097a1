//! How a command loads a model.

use std::{ffi::OsString, time::Duration};

use clap::{Args, builder::NonEmptyStringValueParser};
use sllm_ort::{LoadOptions, MatMulKernel, ProviderChoice};

use super::{provider_args::ProviderArgs, runtime::RuntimeArgs};

#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// Execution provider: auto, cpu, cuda, tensorrt, openvino, coreml, directml, xnnpack
    #[arg(
        long,
        value_name = "NAME",
        default_value = "auto",
        env = "SLLM_ORT_PROVIDER",
        value_parser = NonEmptyStringValueParser::new()
    )]
    provider: String,
    #[command(flatten)]
    provider_options: ProviderArgs,
    /// Variant of the bundle [default: the first one made for the provider]
    #[arg(
        long,
        value_name = "NAME",
        env = "SLLM_ORT_VARIANT",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub variant: Option<String>,
    /// Threads that work on one graph [default: 1 for a small model, else all processors up to 4]
    #[arg(
        long,
        value_name = "N",
        env = "SLLM_ORT_THREADS",
        allow_negative_numbers = true
    )]
    threads: Option<usize>,
    /// How long an idle thread spins before it sleeps, in microseconds; 0 disables spinning
    /// [default: 200]
    #[arg(
        long,
        value_name = "N",
        env = "SLLM_ORT_SPIN",
        allow_negative_numbers = true
    )]
    spin: Option<u64>,
    /// Kernel for 4-bit and 8-bit weights on the CPU: onnxruntime, plain, avx2, avx512-vnni,
    /// neon-dotprod [default: the fastest that the CPU supports; onnxruntime on ARM]
    #[arg(long, value_name = "NAME", env = "SLLM_ORT_MATMUL_KERNEL")]
    matmul_kernel: Option<MatMulKernel>,
    #[command(flatten)]
    pub runtime: RuntimeArgs,
}

impl LoadArgs {
    pub fn options(&self) -> anyhow::Result<LoadOptions> {
        self.options_for(self.variant.as_deref())
    }

    /// The same for another variant.
    pub fn options_for(&self, variant: Option<&str>) -> anyhow::Result<LoadOptions> {
        let provider: ProviderChoice = self.provider.parse()?;
        let mut options = LoadOptions::default()
            .with_provider(provider)
            .with_provider_options(self.provider_options.options()?);
        if let Some(variant) = variant {
            options = options.with_variant(variant);
        }
        if let Some(threads) = self.threads {
            options = options.with_threads(threads)?;
        }
        if let Some(micros) = self.spin {
            options = options.with_spinning(Duration::from_micros(micros))?;
        }
        if let Some(kernel) = self.matmul_kernel {
            options = options.with_matmul_kernel(kernel)?;
        }
        if let Some(path) = &self.runtime.onnxruntime {
            options = options.with_onnxruntime(path);
        }
        Ok(options)
    }

    /// The same as arguments of another process, with another variant.
    pub fn arguments(&self, variant: Option<&str>) -> Vec<OsString> {
        let mut arguments = vec!["--provider".into(), self.provider.clone().into()];
        let mut option = |name: &str, value: Option<OsString>| {
            if let Some(value) = value {
                arguments.extend([name.into(), value]);
            }
        };
        let number = |number: u64| number.to_string().into();
        option("--variant", variant.map(OsString::from));
        option("--threads", self.threads.map(|n| number(n as u64)));
        option("--spin", self.spin.map(number));
        let kernel = self.matmul_kernel;
        option("--matmul-kernel", kernel.map(|k| k.to_string().into()));
        let library = self.runtime.onnxruntime.clone();
        option("--onnxruntime", library.map(OsString::from));
        arguments.extend(self.provider_options.arguments());
        arguments
    }
}
