//! `setup`: report whether ONNX Runtime and the model are found, and how to install what is
//! missing. It downloads nothing, and searches the same places as every other command.

use std::path::PathBuf;

use clap::Args;
use sllm_ort::data_folder;

use super::{models, output, runtime};

#[derive(Args, Debug)]
pub struct SetupArgs {
    /// Bundle: path of its folder, or a name to look up in the model folders (SLLM_ORT_MODELS adds
    /// folders) [default: the shipped sllm-stories]
    #[arg(short, long, value_name = "MODEL", env = "SLLM_ORT_MODEL")]
    model: Option<PathBuf>,
    #[command(flatten)]
    runtime: runtime::RuntimeArgs,
}

pub fn run(args: &SetupArgs) -> anyhow::Result<bool> {
    // Without HOME there may be none.
    let data = data_folder();
    let library = args.runtime.find();
    match &library {
        Ok(library) => output::line(&format!("[ok] ONNX Runtime: {}", library.path.display()))?,
        Err(error) => {
            output::line(&format!("[missing] {}", output::with_cause(error)))?;
            output::line("One of these gets ONNX Runtime:")?;
            output::line(
                "  python3 -m pip install onnxruntime       # found in python3's packages",
            )?;
            output::line("  make runtime                             # in a checkout of sllm-ort")?;
            if let Some(data) = &data {
                output::line(&format!(
                    "or put the library of a release into {}",
                    data.join("onnxruntime").display()
                ))?;
            }
        }
    }
    let model = models::open(args.model.as_deref());
    match &model {
        Ok(bundle) => output::line(&format!(
            "[ok] model {}: {}",
            bundle.config.name,
            bundle.dir.display()
        ))?,
        Err(error) => {
            output::line(&format!(
                "[missing] {}",
                output::one_line(&format!("{error:#}"))
            ))?;
            output::line("One of these installs the model sllm-stories:")?;
            output::line("  make install                             # in a checkout of sllm-ort")?;
            if let Some(data) = &data {
                output::line(&format!(
                    "  mkdir -p {0} && cp -r models/sllm-stories {0}/",
                    data.join("models").display()
                ))?;
            }
        }
    }
    let works = library.is_ok() && model.is_ok();
    if works {
        output::line("Try: sllm-ort run \"Once upon a time, there was a little fox.\"")?;
    }
    Ok(works)
}
