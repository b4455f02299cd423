//! What every conversion does with a plan: checks, engine, files, publication.

use super::hashing::Hashing;
use super::record::{FileRecord, Record};
use crate::base::parallel::{self, in_parallel};
use crate::base::stage::stage;
use crate::base::{Cancel, json};
use crate::checkpoint::safetensors::OutputTensor;
use crate::checkpoint::{Container, Layout, Tensors};
use crate::connector::checked;
use crate::engine::{self, Context, Done, EngineOptions, Job, NotZero, Prepared, Progress};
use crate::plan::{Finding, FindingKind, Output, Plan};
use crate::store::failpoint::failpoint;
use crate::store::{
    self, Dtype, Overwrite, Source, Staging, available_space, check_separate, write_new,
};
use crate::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

/// The record of the conversion.
pub(crate) use crate::store::CONVERSION_JSON;

/// A plan with its output files, ready to run.
pub(super) struct Conversion {
    pub plan: Plan,
    pub layout: Layout,
    pub prepared: Prepared,
    container: Container,
    threads: usize,
}

/// Where a conversion goes and who watches.
pub(super) struct Target<'a> {
    pub output: &'a Path,
    /// The folder of the tensors inside the output; empty for the output itself.
    pub weights: &'a str,
    pub overwrite: Overwrite,
    pub sync: bool,
    pub hash: bool,
    pub progress: &'a dyn Progress,
    pub cancel: &'a Cancel,
}

impl Conversion {
    /// Lays the outputs out in files and cuts the plan into pieces of work. `dtype` is the type
    /// that floats are cast to.
    pub fn new(
        mut plan: Plan,
        source: &dyn Source,
        dtype: Option<Dtype>,
        (container, max_shard_size): (Container, u64),
        engine: &EngineOptions,
        context: &Context<'_>,
    ) -> Result<Self> {
        stage!("lay out");
        #[cfg(feature = "candle")]
        if plan.calls_functions() {
            Prepared::check(&plan, source, engine).map_err(Error::refused)?;
            engine::probe(&mut plan, source, dtype, context)?;
        }
        #[cfg(not(feature = "candle"))]
        let _ = (&mut plan, dtype, context);
        let outputs = plan.outputs.iter().map(|Output { name, dtype, shape, .. }| OutputTensor {
            name,
            dtype: *dtype,
            shape: shape.as_deref().unwrap_or_default(),
        });
        let outputs: Vec<_> = outputs.collect();
        let (prepared, layout) = parallel::both(
            || Prepared::new(&plan, source, engine).map_err(Error::refused),
            || container.layout(&outputs, &engine::origins(&plan, source), max_shard_size),
        );
        let (layout, mut prepared) = (layout?, prepared?);
        prepared.bound.tables += layout.tables();
        let threads = engine.threads;
        Ok(Conversion { plan, layout, prepared, container, threads })
    }

    /// The bytes of all output files of tensors.
    pub fn output_bytes(&self) -> u64 {
        self.layout.files().iter().map(|(_, len)| len).sum()
    }

    /// The checks that need the disk: that nothing overlaps, that there is room, that tensors
    /// which must be equal are, that no number is lost. Nothing has been written. Returns what it is
    /// of the padding of a vocabulary that is not zero and left out, by the number in
    /// [`Plan::dropped`].
    pub fn check(
        &self,
        input: &Path,
        source: &dyn Source,
        target: &Target<'_>,
    ) -> Result<Vec<(usize, NotZero)>> {
        stage!("check");
        check_separate(input, target.output)?;
        // The files themselves may be links to elsewhere, as in a hub cache.
        for file in 0..source.file_count() {
            check_separate(source.path(file), target.output)?;
        }
        // Tokenizers and configs come on top; they are small beside any model.
        let needed = self.output_bytes();
        if let Some(free) = available_space(target.output).filter(|&free| free < needed) {
            let subject = target.output.display().to_string();
            let problem = format!("the output takes {needed} bytes, {free} are free");
            return Err(Error::refused(vec![Finding::new(
                FindingKind::Resource,
                subject,
                problem,
            )]));
        }
        self.check_values(source, target.cancel)
    }

    /// Compares the tensors that must be equal, and looks at what goes nowhere, as
    /// [`check`](Self::check) does.
    pub fn check_values(
        &self,
        source: &dyn Source,
        cancel: &Cancel,
    ) -> Result<Vec<(usize, NotZero)>> {
        let plan = &self.plan;
        if !plan.equal.is_empty() {
            checked(source, (self.threads, cancel), |source| {
                Ok(engine::check_equal(plan, source, &self.prepared, cancel)?)
            })?;
        }
        let tensors = source.tensors();
        let look = |source: &dyn Source| {
            engine::not_zero(plan, tensors, &engine::read_from(source), cancel)
        };
        let may_go = |(number, _): &(usize, NotZero)| plan.is_vocab_padding(&plan.dropped[*number]);
        let found = look(source)?;
        if found.iter().all(may_go) {
            return Ok(found);
        }
        // Only now are checksums worth reading the rest of what they are of.
        checked(source, (self.threads, cancel), |source| {
            let found = look(source)?;
            let lost = found.iter().filter(|found| !may_go(found));
            let findings: Vec<Finding> =
                lost.map(|(number, lost)| engine::lost(plan, tensors, *number, lost)).collect();
            if findings.is_empty() { Ok(found) } else { Err(Error::refused(findings)) }
        })
    }

    /// Converts into a staging directory, checks what was written and publishes it. `convert` writes
    /// the tensors, `finish` what is not tensors, and completes the record.
    pub fn run(
        &self,
        (input, source): (&Path, &dyn Source),
        context: Context<'_>,
        target: &Target<'_>,
        mut record: Record,
        convert: impl FnOnce(&Job<'_>) -> Result<Done>,
        finish: impl FnOnce(&Path, &mut Record) -> Result<()>,
    ) -> Result<(Record, Done)> {
        let left_out = self.check(input, source, target)?;
        record.add_left_out(&self.plan, source.tensors(), left_out);
        let staging = Staging::begin(target.output, target.overwrite)?.sync(target.sync);
        let weights = staging.path().join(target.weights);
        fs::create_dir_all(&weights).map_err(store::Error::io("create", &weights))?;
        let writer = {
            stage!("create");
            self.layout.create(&weights)?
        };
        failpoint("conversion.created")?;
        let places: Vec<_> = (0..self.plan.outputs.len()).map(|n| self.layout.parts(n)).collect();
        let hashing = target.hash.then(|| {
            let bytes = self.plan.outputs.iter().map(|output| output.bytes().unwrap_or(0));
            Hashing::new(writer.sink(), places.iter().map(Vec::as_slice).zip(bytes))
        });
        let done = checked(source, (self.threads, target.cancel), |source| {
            convert(&Job {
                plan: &self.plan,
                prepared: &self.prepared,
                source,
                sink: hashing.as_ref().map_or(writer.sink(), |hashing| hashing),
                places: &places,
                context,
                progress: target.progress,
                cancel: target.cancel,
            })
        })?;
        failpoint("conversion.written")?;
        let hashes = hashing.map(Hashing::known);
        {
            stage!("finish");
            writer.finish(self.threads, target.cancel)?;
        }
        record.add_losses(&self.plan, &done);
        let written = self.check_written(&weights, target, &mut record)?;
        if let Some(known) = hashes {
            record.hashes = self.hashes(&known, &written, target.cancel)?;
        }
        drop(written);
        {
            stage!("other files");
            finish(staging.path(), &mut record)?;
        }
        source.check_unchanged()?;
        write_new(
            &staging.path().join(CONVERSION_JSON),
            &json::pretty(&record).map_err(Error::config)?,
        )?;
        failpoint("conversion.finished")?;
        target.cancel.check()?;
        stage!("publish");
        staging.publish()?;
        Ok((record, done))
    }

    /// Reads the output's headers back and holds them against the plan.
    fn check_written(
        &self,
        weights: &Path,
        target: &Target<'_>,
        record: &mut Record,
    ) -> Result<Tensors> {
        stage!("read back");
        let reader = Tensors::open(weights)?;
        let wrong = |what: String| Error::WrittenWrong { path: target.output.into(), what };
        if let Some(problem) = reader.problems().first() {
            return Err(wrong(problem.clone()));
        }
        let mut written: Vec<_> =
            reader.tensors().iter().map(|t| (t.name.clone(), t.dtype, Some(&t.shape))).collect();
        let outputs = self.plan.outputs.iter();
        let mut planned: Vec<_> = outputs
            .map(|o| (self.container.read_back(&o.name), o.dtype, o.shape.as_ref()))
            .collect();
        written.sort_unstable();
        planned.sort_unstable();
        if written != planned {
            return Err(wrong("the tensors on disk are not those of the plan".into()));
        }
        record.weights = FileRecord::of(&reader)?;
        Ok(reader)
    }

    /// The hashes of the tensors by name, of which some are `known` by the output's number. The others
    /// are read, while the disk takes what was written.
    fn hashes(
        &self,
        known: &[Option<blake3::Hash>],
        written: &Tensors,
        cancel: &Cancel,
    ) -> Result<BTreeMap<String, String>> {
        stage!("hash");
        let names = self.plan.outputs.iter().map(|output| self.container.read_back(&output.name));
        let known: HashMap<String, blake3::Hash> =
            names.zip(known).filter_map(|(name, hash)| Some((name, (*hash)?))).collect();
        let tensors = written.tensors();
        let hashes = in_parallel(self.threads, tensors.len(), |number| -> Result<_> {
            cancel.check()?;
            let tensor = &tensors[number];
            match known.get(&tensor.name) {
                Some(hash) => Ok(hash.to_hex().to_string()),
                None => hash(written, tensor),
            }
        })?;
        Ok(tensors.iter().map(|t| t.name.clone()).zip(hashes).collect())
    }
}

/// The blake3 hash of a tensor's bytes.
pub(crate) fn hash(source: &dyn Source, tensor: &store::TensorInfo) -> Result<String> {
    // What was read is hashed while it is in the nearest caches.
    const PART: u64 = 128 << 10;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = Vec::new();
    for run in tensor.runs(0, tensor.elements()) {
        let size = run.len * tensor.dtype.bits() / 8;
        for at in (0..size).step_by(PART as usize) {
            buffer.resize(PART.min(size - at) as usize, 0);
            source.read_at(run.file, run.offset + at, &mut buffer)?;
            hasher.update(&buffer);
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}
