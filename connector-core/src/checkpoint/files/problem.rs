use crate::checkpoint::safetensors::{most_tensors, shown};
use std::fmt;
use std::path::PathBuf;

/// What is wrong with a set of shards. A reader tells of all of them at once.
#[derive(Debug)]
#[non_exhaustive]
pub enum Problem<E> {
    /// A file is not well-formed.
    Malformed(E),
    /// The files have more tensors than so little data can be.
    TooManyTensors {
        /// How many those have that were read, the last of which is one too many.
        tensors: usize,
        /// The bytes of these files.
        bytes: u64,
    },
    /// So many more problems are not listed.
    More {
        /// How many.
        count: usize,
    },
    /// A tensor is in several shards.
    DuplicateTensor {
        /// The tensor.
        tensor: String,
        /// All shards that hold it.
        shards: Vec<String>,
    },
    /// A shard is not there.
    MissingShard {
        /// The file name.
        shard: String,
        /// How many entries of the index name it; 0 without an index.
        tensors: usize,
        /// If the shard is a link: where to. Nothing is there.
        link: Option<PathBuf>,
    },
    /// A shard is a directory, a pipe or another thing that is no file.
    NotAFile {
        /// The file name.
        shard: String,
    },
    /// The index names a shard by a path, where only file names of its own directory may stand.
    ShardName {
        /// The name.
        shard: String,
    },
    /// A whole model lies beside an index that does not name it: two models, and other tools load
    /// the one file.
    TwoModels {
        /// The file, `model.safetensors`.
        single: &'static str,
    },
    /// The index lists a tensor in a shard which does not hold it.
    NotInShard {
        /// The tensor.
        tensor: String,
        /// The shard that the index lists.
        shard: String,
        /// The shard where it is, if it is in any.
        found: Option<String>,
    },
    /// A shard holds a tensor of which the index says nothing.
    NotListed {
        /// The tensor.
        tensor: String,
        /// The shard that holds it.
        shard: String,
    },
    /// The index lists a tensor more than once.
    ListedTwice {
        /// The tensor.
        tensor: String,
    },
}

impl<E: fmt::Display> fmt::Display for Problem<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Malformed(error) => error.fmt(f),
            Problem::TooManyTensors { tensors, bytes } => write!(
                f,
                "there are {tensors} tensors in {bytes} bytes of files, and a model has larger ones; \
                 at most {} are taken",
                most_tensors(*bytes)
            ),
            Problem::More { count } => write!(f, "{count} more problems of this kind"),
            Problem::DuplicateTensor { tensor, shards } => {
                write!(f, "tensor `{}` is in several shards: ", shown(tensor))?;
                for (i, shard) in shards.iter().enumerate() {
                    write!(f, "{}`{}`", if i == 0 { "" } else { ", " }, shown(shard))?;
                }
                Ok(())
            }
            Problem::MissingShard { shard, tensors, link } => {
                write!(f, "shard `{}` does not exist", shown(shard))?;
                if let Some(link) = link {
                    write!(f, ": it is a link to {}", link.display())?;
                }
                match tensors {
                    0 => Ok(()),
                    1 => f.write_str("; the index lists 1 tensor in it"),
                    n => write!(f, "; the index lists {n} tensors in it"),
                }
            }
            Problem::TwoModels { single } => write!(
                f,
                "`{single}` lies beside an index that does not name it: one of the two is stale; \
                 move it away"
            ),
            Problem::NotAFile { shard } => write!(f, "shard `{}` is not a file", shown(shard)),
            Problem::ShardName { shard } => write!(
                f,
                "the index names the shard `{}`; only names of files beside it are allowed",
                shown(shard)
            ),
            Problem::NotInShard { tensor, shard, found } => {
                let (tensor, shard) = (shown(tensor), shown(shard));
                write!(f, "the index lists tensor `{tensor}` in `{shard}`, ")?;
                match found {
                    Some(found) => write!(f, "but it is in `{}`", shown(found)),
                    None => f.write_str("but no shard holds it"),
                }
            }
            Problem::NotListed { tensor, shard } => {
                let (tensor, shard) = (shown(tensor), shown(shard));
                write!(f, "tensor `{tensor}` is in `{shard}`, but the index does not list it")
            }
            Problem::ListedTwice { tensor } => {
                write!(f, "the index lists tensor `{}` more than once", shown(tensor))
            }
        }
    }
}
