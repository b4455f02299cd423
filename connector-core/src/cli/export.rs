//! `export`: a checkpoint of Megatron's, or an adapter, becomes one of Hugging Face.

use super::args::Export;
use super::conversion::Run;
use super::exit::Exit;
use super::failure::Failure;
use super::screen::Screen;
use super::source;
use crate::store::Overwrite;

pub(super) fn run(args: &Export, screen: &mut Screen) -> Result<Exit, Failure> {
    let Export { checkpoint, output, publish, how, .. } = args;
    #[cfg(feature = "train")]
    let base = args.on.base.as_deref();
    #[cfg(feature = "train")]
    if crate::train::Adapted::is_at(checkpoint)? {
        if publish.dry_run || args.to != "hf" {
            let message =
                "of an adapter there is neither --dry-run nor --to: it is written for peft";
            return Err(Failure::usage(message));
        }
        let overwrite = Overwrite::from(publish.overwrite);
        return super::finetune::export_adapter(checkpoint, output, overwrite, base, screen);
    }
    #[cfg(feature = "train")]
    if base.is_some() {
        let message = format!("--base: {} is no adapter", checkpoint.display());
        return Err(Failure::usage(message));
    }
    let mut options = args.options()?;
    options.overwrite = Overwrite::from(publish.overwrite);
    options.hash = publish.hash;
    options.engine.sync = !publish.no_sync;
    let (cancel, asked) = (options.cancel.clone(), options.plan.clone());
    let plan = || source::plan_export(checkpoint, options);
    Run { source: checkpoint, to: Some(output), publish, cancel, asked, how }.run(plan, screen)
}
