//! Files that lie, written by our own writer of pickles.

use super::*;
use crate::checkpoint::torch::pickle::Writer;
use crate::checkpoint::torch::zip::{Frame, frame};
use std::fs;

/// A tensor of `_rebuild_tensor_v2`: its storage, first element, sizes and strides.
struct Tensor {
    class: (&'static str, &'static str),
    storage: &'static str,
    offset: u64,
    size: Vec<u64>,
    strides: Vec<u64>,
}

impl Default for Tensor {
    /// Four bytes in storage 0.
    fn default() -> Self {
        let class = ("torch", "ByteStorage");
        Tensor { class, storage: "0", offset: 0, size: vec![4], strides: vec![1] }
    }
}

impl Tensor {
    fn write(&self, writer: &mut Writer) {
        writer.call("torch._utils", "_rebuild_tensor_v2", |args| {
            args.persistent(|id| {
                id.tuple(|id| {
                    id.text("storage").global(self.class.0, self.class.1);
                    id.text(self.storage).text("cpu").int(4);
                });
            });
            args.int(self.offset).ints(self.size.iter().copied());
            args.ints(self.strides.iter().copied()).bool(false);
            args.call("collections", "OrderedDict", |_| {});
        });
    }
}

/// What is wrong with an archive of the pickle that `write` writes and four bytes of storage 0.
fn problems(write: impl FnOnce(&mut Writer)) -> Vec<String> {
    let mut writer = Writer::new();
    write(&mut writer);
    let Frame { head, tail, .. } = frame(&writer.finish(), 4);
    problems_of(&[&head[..], b"abcd", &tail].concat())
}

fn problems_of(bytes: &[u8]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.bin");
    fs::write(&path, bytes).unwrap();
    let reader = Reader::open(&path).unwrap();
    assert_eq!(reader.problems().is_empty(), !reader.tensors().is_empty());
    let prefix = format!("{}: ", path.display());
    reader.problems().iter().map(|p| p.to_string().replace(&prefix, "")).collect()
}

fn problem_of(tensor: Tensor) -> String {
    problems(|w| {
        w.dict(|w| tensor.write(w.text("x")));
    })
    .join("; ")
}

#[test]
fn four_bytes() {
    assert_eq!(problem_of(Tensor::default()), "");
}

#[test]
fn tensors_that_are_not_within_their_storage() {
    let beyond = "tensor `x` [4] reaches beyond its storage, which has 4 bytes";
    for tensor in [
        Tensor { offset: 1, ..Tensor::default() },
        Tensor { offset: u64::MAX >> 1, ..Tensor::default() },
        Tensor { strides: vec![2], ..Tensor::default() },
        Tensor { strides: vec![u64::MAX >> 1], ..Tensor::default() },
        Tensor { class: ("torch", "ShortStorage"), ..Tensor::default() },
        Tensor { strides: vec![], ..Tensor::default() },
    ] {
        let problem = problem_of(tensor);
        assert!(problem.contains(beyond), "{problem}");
    }
    let most = u64::MAX >> 1;
    for (size, strides) in [
        (vec![most, most], vec![most, 1]),
        // More elements than any file has, all of them the same one.
        (vec![most, most], vec![0, 0]),
        (vec![3, 2], vec![2, 1]),
    ] {
        let problem = problem_of(Tensor { size, strides, ..Tensor::default() });
        assert!(problem.contains("reaches beyond its storage"), "{problem}");
    }
    let problem = problem_of(Tensor { storage: "../0", ..Tensor::default() });
    assert!(problem.contains("in the storage `../0`, which the file does not have"), "{problem}");
    let problem =
        problem_of(Tensor { class: ("torch", "ComplexFloatStorage"), ..Tensor::default() });
    assert!(problem.contains("has the type ComplexFloatStorage"), "{problem}");
}

#[test]
fn calls_of_code_are_refused_and_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("mark");
    let command = format!("touch {}", mark.display());
    let found = problems(|w| {
        w.dict(|w| {
            w.text("x").call("posix", "system", |args| {
                args.text(&command);
            });
        });
    });
    assert!(found[0].contains("calls `posix.system`"), "{found:?}");
    assert!(found[0].contains("nothing was run"), "{found:?}");
    assert!(!mark.exists());
    // What torch has of the kind is no tensor either.
    for name in ["load", "hub.load", "jit._load", "nn.Module", "_utils._rebuild_sparse_tensor"] {
        let found = problems(|w| {
            w.dict(|w| {
                w.text("x").call("torch", name, |args| {
                    args.text("x");
                });
            });
        });
        assert!(found[0].contains("expected a tensor, found an object of torch."), "{found:?}");
    }
}

#[test]
fn states_of_other_things() {
    for (write, want) in [
        (
            (|w: &mut Writer| {
                w.int(5);
            }) as fn(&mut Writer),
            "expected a dict of tensors, found 5",
        ),
        (
            |w| {
                w.dict(|_| {});
            },
            "it holds no tensors",
        ),
        (
            |w| {
                w.dict(|w| {
                    w.text("epoch").int(3);
                });
            },
            "epoch: expected a tensor, found 3",
        ),
        (
            |w| {
                w.dict(|w| {
                    w.text("state_dict").dict(|w| Tensor::default().write(w.text("x")));
                });
            },
            "`torch.save(torch.load(FILE)[\"state_dict\"], \"pytorch_model.bin\")`",
        ),
        (
            |w| {
                w.dict(|w| {
                    w.int(1).int(3);
                });
            },
            "expected a text, found 1",
        ),
        (
            |w| {
                w.dict(|w| {
                    Tensor::default().write(w.text("x"));
                    Tensor::default().write(w.text("x"));
                });
            },
            "`x` is in the pickle twice",
        ),
    ] {
        let found = problems(write).join("; ");
        assert!(found.contains(want), "{found}");
    }
}

#[test]
fn all_that_is_wrong_is_told() {
    let found = problems(|w| {
        w.dict(|w| {
            Tensor { offset: 9, ..Tensor::default() }.write(w.text("a"));
            Tensor::default().write(w.text("b"));
            Tensor { storage: "7", ..Tensor::default() }.write(w.text("c"));
        });
    });
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn files_that_are_neither() {
    for (bytes, want) in [
        (&b""[..], "no file of torch.save"),
        (b"\x80\x02}q\x00.", "no file of torch.save"),
        (b"PK\x03\x04", "it is no zip archive: its end is not there"),
        (legacy::MAGIC, "the pickle ends in the middle"),
    ] {
        let found = problems_of(bytes).join("; ");
        assert!(found.contains(want), "{found}");
    }
}

/// A file of before torch 1.6: the pickles, and behind them `storages`.
fn legacy(little: bool, keys: &[&str], storages: &[u8]) -> Vec<u8> {
    let pickle = |write: &dyn Fn(&mut Writer)| {
        let mut writer = Writer::new();
        write(&mut writer);
        writer.finish()
    };
    let mut bytes = legacy::MAGIC.to_vec();
    bytes.extend(pickle(&|w| {
        w.int(1001);
    }));
    bytes.extend(pickle(&|w| {
        w.dict(|w| {
            w.text("little_endian").bool(little);
        });
    }));
    bytes.extend(pickle(&|w| {
        w.dict(|w| Tensor::default().write(w.text("x")));
    }));
    bytes.extend(pickle(&|w| {
        w.list(|w| {
            keys.iter().for_each(|key| {
                w.text(key);
            });
        });
    }));
    bytes.extend(storages);
    bytes
}

#[test]
fn files_of_old_that_lie() {
    let storage = |count: i64| [&count.to_le_bytes()[..], b"abcd"].concat();
    let whole = legacy(true, &["0"], &storage(4));
    assert_eq!(problems_of(&whole), [""; 0]);
    for (bytes, want) in [
        (legacy(false, &["0"], &storage(4)), "big-endian"),
        (legacy(true, &["0"], &storage(5)), "cut off"),
        (legacy(true, &["0"], &storage(-1)), "cut off"),
        (legacy(true, &["0"], &storage(i64::MAX)), "cut off"),
        (legacy(true, &["0"], &storage(3)), "reaches beyond its storage"),
        (legacy(true, &["0"], b"abc"), "cut off"),
        (legacy(true, &["7"], &storage(4)), "no tensor is in one of them"),
        (legacy(true, &[], &storage(4)), "in the storage `0`, which the file does not have"),
    ] {
        let found = problems_of(&bytes).join("; ");
        assert!(found.contains(want), "{want}: {found}");
    }
    for len in legacy::MAGIC.len()..whole.len() {
        assert_ne!(problems_of(&whole[..len]), [""; 0], "{len}");
    }
}

mod arbitrary {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_flipped_byte_never_panics(at in any::<prop::sample::Index>(), value in any::<u8>()) {
            for whole in [legacy(true, &["0"], b"\x04\0\0\0\0\0\0\0abcd"), {
                let mut writer = Writer::new();
                writer.dict(|w| Tensor::default().write(w.text("x")));
                let Frame { head, tail, .. } = frame(&writer.finish(), 4);
                [&head[..], b"abcd", &tail].concat()
            }] {
                let mut bytes = whole.clone();
                bytes[at.index(whole.len())] = value;
                problems_of(&bytes);
            }
        }
    }
}
