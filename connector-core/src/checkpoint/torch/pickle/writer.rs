use super::opcode::*;
use std::collections::HashMap;

/// Writes a pickle of protocol 2, which every Python and every unpickler of torch reads.
///
/// Names of classes and texts that come again are noted once, as Python does it: metadata repeats
/// its few words for each piece of each tensor.
#[derive(Debug)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    memo: HashMap<Noted, u32>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Noted {
    Text(String),
    Global(String),
}

impl Writer {
    pub fn new() -> Self {
        Writer { bytes: vec![PROTO, 2], memo: HashMap::new() }
    }

    /// The whole pickle.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.push(STOP);
        self.bytes
    }

    fn op(&mut self, opcode: u8) -> &mut Self {
        self.bytes.push(opcode);
        self
    }

    fn sized(&mut self, short: u8, long: u8, number: u32) {
        match u8::try_from(number) {
            Ok(number) => self.bytes.extend([short, number]),
            Err(_) => {
                self.bytes.push(long);
                self.bytes.extend(number.to_le_bytes());
            }
        }
    }

    /// Writes what was noted, or `write`s and notes it.
    fn noted(&mut self, what: Noted, write: impl FnOnce(&mut Self)) -> &mut Self {
        if let Some(&number) = self.memo.get(&what) {
            self.sized(BINGET, LONG_BINGET, number);
        } else {
            write(self);
            let number = self.memo.len() as u32;
            self.memo.insert(what, number);
            self.sized(BINPUT, LONG_BINPUT, number);
        }
        self
    }

    pub fn none(&mut self) -> &mut Self {
        self.op(NONE)
    }

    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.op(if value { NEWTRUE } else { NEWFALSE })
    }

    pub fn int(&mut self, value: u64) -> &mut Self {
        if let Ok(value) = u8::try_from(value) {
            self.bytes.extend([BININT1, value]);
        } else if let Ok(value) = u16::try_from(value) {
            self.op(BININT2).bytes.extend(value.to_le_bytes());
        } else if let Ok(value) = i32::try_from(value) {
            self.op(BININT).bytes.extend(value.to_le_bytes());
        } else {
            // As many bytes as the number has, and one for the sign if its highest bit is set.
            let len = (64 - value.leading_zeros() as usize) / 8 + 1;
            let bytes = u128::from(value).to_le_bytes();
            self.bytes.extend([LONG1, len as u8]);
            self.bytes.extend(&bytes[..len]);
        }
        self
    }

    pub fn float(&mut self, value: f64) -> &mut Self {
        self.op(BINFLOAT).bytes.extend(value.to_be_bytes());
        self
    }

    pub fn text(&mut self, text: &str) -> &mut Self {
        self.noted(Noted::Text(text.into()), |writer| {
            writer.op(BINUNICODE).bytes.extend((text.len() as u32).to_le_bytes());
            writer.bytes.extend(text.as_bytes());
        })
    }

    /// The class or function `name` of `module`.
    pub fn global(&mut self, module: &str, name: &str) -> &mut Self {
        let line = format!("{module}\n{name}\n");
        self.noted(Noted::Global(line.clone()), |writer| {
            writer.op(GLOBAL).bytes.extend(line.as_bytes());
        })
    }

    /// `(…)`: what `write` writes.
    pub fn tuple(&mut self, write: impl FnOnce(&mut Self)) -> &mut Self {
        self.op(MARK);
        write(self);
        self.op(TUPLE)
    }

    /// `[…]`: what `write` writes.
    pub fn list(&mut self, write: impl FnOnce(&mut Self)) -> &mut Self {
        self.op(EMPTY_LIST).op(MARK);
        write(self);
        self.op(APPENDS)
    }

    /// `{…}`: `write` writes key, value, key, value.
    pub fn dict(&mut self, write: impl FnOnce(&mut Self)) -> &mut Self {
        self.op(EMPTY_DICT).op(MARK);
        write(self);
        self.op(SETITEMS)
    }

    /// `name(args)`: a call with the arguments that `write` writes.
    pub fn call(&mut self, module: &str, name: &str, write: impl FnOnce(&mut Self)) -> &mut Self {
        self.global(module, name).tuple(write).op(REDUCE)
    }

    /// An object made without its constructor, with the state that `write` writes.
    pub fn object(&mut self, module: &str, name: &str, write: impl FnOnce(&mut Self)) -> &mut Self {
        self.global(module, name).op(EMPTY_TUPLE).op(NEWOBJ);
        write(self);
        self.op(BUILD)
    }

    /// What the reader resolves: the value that `write` writes names a tensor's storage.
    pub fn persistent(&mut self, write: impl FnOnce(&mut Self)) -> &mut Self {
        write(self);
        self.op(BINPERSID)
    }

    /// A tuple of numbers.
    pub fn ints(&mut self, values: impl IntoIterator<Item = u64>) -> &mut Self {
        self.tuple(|writer| {
            for value in values {
                writer.int(value);
            }
        })
    }
}
