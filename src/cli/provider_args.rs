//! Options of execution providers.

use std::{ffi::OsString, path::PathBuf, str::FromStr};

use clap::Args;
use sllm_ort::{ProviderOptions, ShapeProfiles, SizeRange};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Execution")]
pub struct ProviderArgs {
    /// GPU number, for cuda and tensorrt [default: the driver's first GPU]
    #[arg(long, value_name = "ID")]
    device: Option<u32>,
    /// Limit of GPU memory for each graph, in bytes, for cuda [default: all]
    #[arg(long, value_name = "BYTES")]
    gpu_memory: Option<usize>,
    /// Directory where tensorrt caches the engines that it builds [default: no cache]
    #[arg(long, value_name = "DIR")]
    engine_cache: Option<PathBuf>,
    /// Sizes that tensorrt builds its engines for: rows per batch, sentences per context, tokens
    /// per sentence, each as min:usual:max
    #[arg(long, value_name = "BATCH,SENTENCES,TOKENS")]
    engine_sizes: Option<Sizes>,
}

#[derive(Clone, Debug)]
struct Sizes {
    /// As they were given.
    text: String,
    shapes: ShapeProfiles,
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ranges: Vec<SizeRange> = text.split(',').map(range).collect::<Result<_, _>>()?;
        match ranges.as_slice() {
            &[batch, sentences, tokens] => Ok(Self {
                text: text.to_owned(),
                shapes: ShapeProfiles::new(batch, sentences, tokens),
            }),
            _ => Err("three ranges are needed, such as 1:1:8,1:8:64,1:16:64".into()),
        }
    }
}

fn range(text: &str) -> Result<SizeRange, String> {
    let number = |size: &str| size.parse().map_err(|error| format!("{size:?}: {error}"));
    let sizes: Vec<usize> = text.split(':').map(number).collect::<Result<_, _>>()?;
    match sizes.as_slice() {
        &[min, usual, max] => SizeRange::new(min, usual, max).map_err(|error| error.to_string()),
        _ => Err(format!("{text:?}: three sizes are needed, such as 1:8:64")),
    }
}

impl ProviderArgs {
    /// The same as arguments of another process.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments = Vec::new();
        let mut option = |name: &str, value: Option<OsString>| {
            if let Some(value) = value {
                arguments.extend([name.into(), value]);
            }
        };
        option("--device", self.device.map(|id| id.to_string().into()));
        option(
            "--gpu-memory",
            self.gpu_memory.map(|bytes| bytes.to_string().into()),
        );
        option(
            "--engine-cache",
            self.engine_cache.clone().map(PathBuf::into_os_string),
        );
        option(
            "--engine-sizes",
            self.engine_sizes
                .as_ref()
                .map(|sizes| sizes.text.clone().into()),
        );
        arguments
    }

    pub fn options(&self) -> sllm_ort::Result<ProviderOptions> {
        let mut options = ProviderOptions::default();
        if let Some(device) = self.device {
            options = options.with_device(device)?;
        }
        if let Some(bytes) = self.gpu_memory {
            options = options.with_memory_limit(bytes)?;
        }
        if let Some(directory) = &self.engine_cache {
            options = options.with_engine_cache(directory)?;
        }
        if let Some(sizes) = &self.engine_sizes {
            options = options.with_shape_profiles(sizes.shapes);
        }
        Ok(options)
    }
}
