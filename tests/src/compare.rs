use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::path::Path;
use std::{fmt, fs};

/// A tensor as a file holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    /// The type as the header names it.
    pub dtype: String,
    /// The dimensions.
    pub shape: Vec<usize>,
    /// The numbers.
    pub bytes: Vec<u8>,
}

/// Without the bytes, of which nobody wants to see thousands.
impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.dtype, self.shape)
    }
}

/// All tensors of a safetensors file, or of all such files in a directory. Read by the safetensors
/// crate. A tensor that is there twice fails the test.
pub fn read_tensors(path: &Path) -> BTreeMap<String, Stored> {
    let mut files = vec![path.to_path_buf()];
    if path.is_dir() {
        let entries = fs::read_dir(path).expect("a directory");
        files = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.retain(|file| file.extension().is_some_and(|e| e == "safetensors"));
    }
    let mut tensors = BTreeMap::new();
    for file in files {
        let bytes = fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let read = SafeTensors::deserialize(&bytes);
        for (name, view) in read.unwrap_or_else(|e| panic!("{}: {e}", file.display())).tensors() {
            let (dtype, shape) = (view.dtype().to_string(), view.shape().to_vec());
            let stored = Stored { dtype, shape, bytes: view.data().to_vec() };
            assert!(tensors.insert(name.clone(), stored).is_none(), "{name} is there twice");
        }
    }
    tensors
}

/// Fails unless both have the same tensors, bit for bit. Names every difference.
#[track_caller]
pub fn assert_same_tensors(got: &BTreeMap<String, Stored>, want: &BTreeMap<String, Stored>) {
    assert!(!want.is_empty(), "there is nothing to compare with");
    let mut wrong = Vec::new();
    for (name, want) in want {
        match got.get(name) {
            None => wrong.push(format!("{name} is missing")),
            Some(got) if (&got.dtype, &got.shape) != (&want.dtype, &want.shape) => {
                wrong.push(format!("{name} is {got:?} and should be {want:?}"));
            }
            Some(got) => {
                if let Some(at) = got.bytes.iter().zip(&want.bytes).position(|(a, b)| a != b) {
                    wrong.push(format!("{name} differs from byte {at} of {} on", want.bytes.len()));
                }
            }
        }
    }
    let extra = got.keys().filter(|name| !want.contains_key(*name));
    wrong.extend(extra.map(|name| format!("{name} should not be there")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
