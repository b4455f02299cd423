//! `import`: a Hugging Face checkpoint becomes one of Megatron's.

use super::args::Import;
use super::conversion::Run;
use super::exit::Exit;
use super::failure::Failure;
use super::screen::Screen;
use super::source;
use crate::connector::cache::nemo_place;
use crate::store::Overwrite;

pub(super) fn run(args: &Import, screen: &mut Screen) -> Result<Exit, Failure> {
    let Import { selection, output, nemo_cache, publish, .. } = args;
    let mut options = selection.options()?;
    options.torch_dist = args.torch_dist()?;
    options.accept = args.stored.accept.clone();
    options.overwrite = Overwrite::from(publish.overwrite);
    options.hash = publish.hash;
    options.engine.sync = !publish.no_sync;
    let (cancel, asked) = (options.cancel.clone(), options.plan.clone());
    let plan = || source::plan(&selection.source, options);
    let place = if *nemo_cache { Some(nemo_place(&selection.source)?) } else { output.clone() };
    let (source, to) = (&selection.source, place.as_deref());
    Run { source, to, publish, cancel, asked, how: &selection.how }.run(plan, screen)
}
