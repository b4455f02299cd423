use super::PickleError;
use super::opcode::*;

type Result<T, E = PickleError> = std::result::Result<T, E>;

/// The bytes of a pickle from some place on.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

/// What an instruction says by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Literal<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(&'a str),
    /// Bytes, or an integer that does not fit in 64 bits; a checkpoint has no use for what they say.
    Opaque,
    EmptyTuple,
    /// The name of a class or function.
    Global(&'a str, &'a str),
}

impl<'a> Cursor<'a> {
    pub fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let ends = PickleError::Ends { at: self.bytes.len() };
        let end = self.at.checked_add(len).ok_or(ends.clone())?;
        let taken = self.bytes.get(self.at..end).ok_or(ends)?;
        self.at = end;
        Ok(taken)
    }

    pub fn byte(&mut self) -> Result<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// An unsigned number of up to 8 bytes, little-endian.
    pub fn number(&mut self, len: usize) -> Result<u64> {
        let mut bytes = [0; 8];
        bytes[..len].copy_from_slice(self.take(len)?);
        Ok(u64::from_le_bytes(bytes))
    }

    /// What the instruction here says, if it says something by itself; goes behind it.
    pub fn literal(&mut self) -> Result<Option<Literal<'a>>> {
        let start = self.at;
        let literal = match self.byte()? {
            NONE => Literal::None,
            NEWTRUE => Literal::Bool(true),
            NEWFALSE => Literal::Bool(false),
            BININT1 => Literal::Int(self.number(1)? as i64),
            BININT2 => Literal::Int(self.number(2)? as i64),
            BININT => Literal::Int((self.number(4)? as u32 as i32).into()),
            LONG1 => self.long()?,
            BINFLOAT => {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(self.take(8)?);
                Literal::Float(f64::from_be_bytes(bytes))
            }
            SHORT_BINUNICODE => self.text(1, start)?,
            BINUNICODE => self.text(4, start)?,
            BINUNICODE8 => self.text(8, start)?,
            SHORT_BINBYTES => self.counted(1).map(|_| Literal::Opaque)?,
            BINBYTES => self.counted(4).map(|_| Literal::Opaque)?,
            BINBYTES8 => self.counted(8).map(|_| Literal::Opaque)?,
            EMPTY_TUPLE => Literal::EmptyTuple,
            GLOBAL => Literal::Global(self.line(start)?, self.line(start)?),
            _ => {
                self.at = start;
                return Ok(None);
            }
        };
        Ok(Some(literal))
    }

    /// Bytes with their length in front, in `width` bytes.
    fn counted(&mut self, width: usize) -> Result<&'a [u8]> {
        let len = self.number(width)?;
        self.take(usize::try_from(len).unwrap_or(usize::MAX))
    }

    fn long(&mut self) -> Result<Literal<'a>> {
        let bytes = self.counted(1)?;
        let Some(last) = bytes.last() else { return Ok(Literal::Int(0)) };
        if bytes.len() > 8 {
            return Ok(Literal::Opaque);
        }
        // The sign goes on to the left.
        let mut all = [if last & 0x80 == 0 { 0 } else { 0xff }; 8];
        all[..bytes.len()].copy_from_slice(bytes);
        Ok(Literal::Int(i64::from_le_bytes(all)))
    }

    fn text(&mut self, width: usize, start: usize) -> Result<Literal<'a>> {
        let text = std::str::from_utf8(self.counted(width)?);
        let what = "a text is not UTF-8";
        text.map(Literal::Str).map_err(|_| PickleError::Malformed { at: start, what })
    }

    fn line(&mut self, start: usize) -> Result<&'a str> {
        let rest = &self.bytes[self.at..];
        let Some(len) = rest.iter().position(|&byte| byte == b'\n') else {
            return Err(PickleError::Ends { at: self.bytes.len() });
        };
        let line = self.take(len + 1)?;
        let what = "a name is not UTF-8";
        std::str::from_utf8(&line[..len]).map_err(|_| PickleError::Malformed { at: start, what })
    }
}
