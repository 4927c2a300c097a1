//! `setup`: what is there of the runtime and the models, and how to get what is not. It fetches
//! nothing.

use anyhow::Context as _;
use clap::Args;
use sllm_ort::{bundle::Bundle, data_folder, load_library};

use super::{models, output};

#[derive(Args, Debug)]
pub struct SetupArgs {}

pub fn run(_: &SetupArgs) -> anyhow::Result<bool> {
    let data = data_folder().context("there is no folder for a user's data: set HOME")?;
    let library = load_library(None);
    match &library {
        Ok(library) => output::line(&format!("[ok] ONNX Runtime: {}", library.path.display()))?,
        Err(_) => {
            output::line("[missing] ONNX Runtime. One of these gets it:")?;
            output::line(
                "  python3 -m pip install onnxruntime       # found in python3's packages",
            )?;
            output::line("  make runtime                             # in a checkout of sllm-ort")?;
            output::line(&format!(
                "or put the library of a release into {}",
                data.join("onnxruntime").display()
            ))?;
        }
    }
    let model = models::find(None).and_then(|dir| Ok(Bundle::open(dir)?));
    match &model {
        Ok(bundle) => output::line(&format!(
            "[ok] model {}: {}",
            bundle.config.name,
            bundle.dir.display()
        ))?,
        Err(_) => {
            output::line("[missing] the model sllm-stories. One of these installs it:")?;
            output::line("  make install                             # in a checkout of sllm-ort")?;
            output::line(&format!(
                "  mkdir -p {0} && cp -r models/sllm-stories {0}/",
                data.join("models").display()
            ))?;
        }
    }
    let works = library.is_ok() && model.is_ok();
    if works {
        output::line("Try: sllm-ort run \"Once upon a time, there was a little fox.\"")?;
    }
    Ok(works)
}
