use super::PickleError;
use super::cells::{Cells, FARTHEST, Kind, Object, Value};
use super::literal::{Cursor, Literal};
use super::opcode::*;
use std::collections::HashMap;

/// The most memory that values may take: so many times the length of the pickle, and what a short one
/// takes anyway. The metadata of a checkpoint takes twice its length.
const TIMES: usize = 4;
const ANYWAY: usize = 64 << 10;
/// What a note takes whose number does not follow on those before.
const SPARSE_NOTE: usize = 40;

/// How deep collections may be open inside each other while they are built. Real ones have six.
const DEEPEST: usize = 128;

/// The packages whose classes and functions checkpoints name in calls.
const PACKAGES: [&str; 8] = [
    "torch",
    "megatron",
    "nemo",
    "transformer_engine",
    "collections",
    "pathlib",
    "copyreg",
    "uuid",
];

/// Types of Python that hold values.
const BUILTINS: &[&str] = &[
    "bool",
    "bytearray",
    "bytes",
    "complex",
    "dict",
    "float",
    "frozenset",
    "int",
    "list",
    "object",
    "set",
    "slice",
];

/// What calls may name of modules that have more: all that makes a value from others. The command
/// line in a `common.pt` of Megatron-LM is a `Namespace`, its signal to stop a `Signals`.
const NAMES: [(&str, &[&str]); 9] = [
    ("builtins", BUILTINS),
    ("__builtin__", BUILTINS),
    ("argparse", &["Namespace"]),
    ("types", &["SimpleNamespace"]),
    ("signal", &["Signals"]),
    ("datetime", &["datetime", "timedelta", "timezone"]),
    ("numpy", &["dtype", "ndarray"]),
    ("numpy.core.multiarray", &["_reconstruct", "scalar"]),
    ("numpy._core.multiarray", &["_reconstruct", "scalar"]),
];

/// A pickle that was read: its objects, and the value that is its result.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    bytes: &'a [u8],
    pub(super) cells: Cells,
    pub(super) top: Value,
    /// How many bytes it takes; files of old hold several one behind the other.
    pub len: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle at the beginning of `bytes`.
    pub fn read(bytes: &'a [u8]) -> Result<Self, PickleError> {
        let mut machine = Machine {
            code: Cursor { bytes, at: 0 },
            start: 0,
            cells: Cells::default(),
            stack: Vec::new(),
            marks: Vec::new(),
            notes: Notes::default(),
        };
        let top = machine.run()?;
        Ok(Pickle { bytes, cells: machine.cells, top, len: machine.code.at })
    }

    /// What a value says by itself, if it does.
    pub(super) fn literal(&self, value: Value) -> Option<Literal<'a>> {
        literal(self.bytes, value)
    }
}

fn literal(bytes: &[u8], value: Value) -> Option<Literal<'_>> {
    match value.kind() {
        Kind::None => Some(Literal::None),
        // It was read once, so it can be.
        Kind::Literal(at) => Cursor { bytes, at }.literal().ok().flatten(),
        Kind::Object(_) => None,
    }
}

struct Machine<'a> {
    code: Cursor<'a>,
    /// Where the current instruction begins.
    start: usize,
    cells: Cells,
    stack: Vec<Value>,
    /// The heights of the stack at which marks are set.
    marks: Vec<usize>,
    notes: Notes,
}

/// What programs note to use it again.
#[derive(Default)]
struct Notes {
    /// Those with the numbers from 0 on, as Python numbers them.
    dense: Vec<Value>,
    others: HashMap<u32, Value>,
}

type Result<T, E = PickleError> = std::result::Result<T, E>;

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Value> {
        loop {
            self.start = self.code.at;
            if self.start > FARTHEST {
                return Err(self.too_large(FARTHEST, "bytes"));
            }
            if self.code.literal()?.is_some() {
                self.push(Value::literal(self.start))?;
                continue;
            }
            let opcode = self.code.byte()?;
            if opcode == STOP {
                return self.pop();
            }
            self.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            PROTO => self.proto(),
            FRAME => self.code.take(8).map(drop),
            POP => self.pop().map(drop),
            POP_MARK => self.pop_to_mark().map(drop),
            MARK => self.mark(),

            TUPLE1 => self.tuple(1),
            TUPLE2 => self.tuple(2),
            TUPLE3 => self.tuple(3),
            TUPLE => {
                let height = self.pop_mark()?;
                self.tuple(self.stack.len() - height)
            }
            EMPTY_LIST | EMPTY_SET => self.make(Cells::list),
            FROZENSET => {
                let values = self.pop_to_mark()?;
                self.make(Cells::list)?;
                self.extend(&values)
            }
            EMPTY_DICT => self.make(Cells::dict),
            APPEND => self.pop().and_then(|value| self.extend(&[value])),
            APPENDS | ADDITEMS => self.pop_to_mark().and_then(|values| self.extend(&values)),
            SETITEM => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])
            }
            SETITEMS => self.pop_to_mark().and_then(|values| self.set_items(&values)),

            STACK_GLOBAL => self.stack_global(),
            REDUCE | NEWOBJ => {
                let (args, callable) = (self.pop()?, self.pop()?);
                self.call(callable, args)
            }
            NEWOBJ_EX => {
                let (_named, args, callable) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(callable, args)
            }
            BUILD => self.build(),
            BINPERSID => self.pop().and_then(|value| self.make(|cells| cells.persistent(value))),

            BINPUT => self.code.number(1).and_then(|n| self.put(n as u32)),
            LONG_BINPUT => self.code.number(4).and_then(|n| self.put(n as u32)),
            MEMOIZE => self.put((self.notes.dense.len() + self.notes.others.len()) as u32),
            BINGET => self.code.number(1).and_then(|n| self.get(n as u32)),
            LONG_BINGET => self.code.number(4).and_then(|n| self.get(n as u32)),
            opcode => Err(PickleError::Opcode { opcode, at: self.start }),
        }
    }

    fn malformed<T>(&self, what: &'static str) -> Result<T> {
        Err(PickleError::Malformed { at: self.start, what })
    }

    fn too_large(&self, limit: usize, what: &'static str) -> PickleError {
        PickleError::TooLarge { at: self.start, limit, what }
    }

    /// Looks whether there is room for so many more cells.
    fn grow(&self, cells: usize) -> Result<()> {
        let notes = self.notes.others.len() * SPARSE_NOTE;
        let cells = self.cells.len() + self.stack.len() + self.notes.dense.len() + cells;
        let limit = self.code.bytes.len().saturating_mul(TIMES).saturating_add(ANYWAY);
        if cells * size_of::<Value>() + notes > limit || self.cells.len() > FARTHEST / 2 {
            return Err(self.too_large(limit, "bytes of values, four for each of its own"));
        }
        Ok(())
    }

    // The stack.

    fn push(&mut self, value: Value) -> Result<()> {
        self.grow(1)?;
        self.stack.push(value);
        Ok(())
    }

    /// Pushes an object.
    fn make(&mut self, object: impl FnOnce(&mut Cells) -> Value) -> Result<()> {
        let object = object(&mut self.cells);
        self.push(object)
    }

    fn pop(&mut self) -> Result<Value> {
        if self.stack.len() <= self.floor() {
            return self.malformed("nothing is on the stack");
        }
        Ok(self.stack.pop().unwrap_or(Value::NONE))
    }

    fn mark(&mut self) -> Result<()> {
        if self.marks.len() == DEEPEST {
            return Err(self.too_large(DEEPEST, "collections inside each other"));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    /// The height of the last mark, which goes.
    fn pop_mark(&mut self) -> Result<usize> {
        self.marks.pop().map_or_else(|| self.malformed("there is no mark"), Ok)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>> {
        let height = self.pop_mark()?;
        self.grow(self.stack.len() - height)?;
        Ok(self.stack.split_off(height))
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    /// The value on top of the stack, if there is one.
    fn top(&self) -> Option<Value> {
        self.stack.last().copied().filter(|_| self.stack.len() > self.floor())
    }

    /// The object on top of the stack, to be filled.
    fn open(&self) -> Result<(usize, Object)> {
        match self.top().map(Value::kind) {
            Some(Kind::Object(cell)) => Ok((cell, self.cells.object(cell))),
            _ => self.malformed("there is nothing to fill"),
        }
    }

    // Values.

    fn proto(&mut self) -> Result<()> {
        match self.code.byte()? {
            2..=5 => Ok(()),
            _ => self.malformed("the protocol is not one of 2 to 5"),
        }
    }

    /// The last `len` values as a tuple.
    fn tuple(&mut self, len: usize) -> Result<()> {
        let Some(from) = self.stack.len().checked_sub(len).filter(|&from| from >= self.floor())
        else {
            return self.malformed("nothing is on the stack");
        };
        self.grow(len + 1)?;
        let tuple = self.cells.tuple(&self.stack[from..]);
        self.stack.truncate(from);
        self.push(tuple)
    }

    fn extend(&mut self, values: &[Value]) -> Result<()> {
        self.grow(values.len() + 2)?;
        match self.open()? {
            (cell, Object::List(_)) => self.cells.extend(cell, values),
            // A class that is a list.
            (cell, Object::Call { .. }) => {
                self.grow(2 * values.len() + 5)?;
                let items = self.cells.items_of(cell);
                for &value in values {
                    self.cells.extend(items, &[Value::NONE, value]);
                }
            }
            _ => return self.malformed("only a list can be appended to"),
        }
        Ok(())
    }

    fn set_items(&mut self, values: &[Value]) -> Result<()> {
        if !values.len().is_multiple_of(2) {
            return self.malformed("a key has no value");
        }
        self.grow(values.len() + 5)?;
        match self.open()? {
            (cell, Object::Dict(_)) => self.cells.extend(cell, values),
            (cell, Object::Call { .. }) => {
                let items = self.cells.items_of(cell);
                self.cells.extend(items, values);
            }
            _ => return self.malformed("only a dict has items"),
        }
        Ok(())
    }

    // Names and calls.

    fn stack_global(&mut self) -> Result<()> {
        let (name, module) = (self.pop()?, self.pop()?);
        match [module, name].map(|value| literal(self.code.bytes, value)) {
            [Some(Literal::Str(_)), Some(Literal::Str(_))] => {
                self.make(|cells| cells.global(module, name))
            }
            _ => self.malformed("a class has no name"),
        }
    }

    fn call(&mut self, callable: Value, args: Value) -> Result<()> {
        let Some((module, name)) = global(self.code.bytes, &self.cells, callable) else {
            return self.malformed("what is called is no class or function");
        };
        let package = module.split('.').next().unwrap_or(module);
        let listed = || NAMES.iter().any(|(of, names)| *of == module && names.contains(&name));
        if !PACKAGES.contains(&package) && !listed() {
            return Err(PickleError::Call { name: format!("{module}.{name}") });
        }
        self.make(|cells| cells.call(callable, args))
    }

    fn build(&mut self) -> Result<()> {
        let made = self.pop()?;
        match self.open()? {
            (cell, Object::Call { .. }) => self.cells.set_state(cell, made),
            _ => return self.malformed("only an object has a state"),
        }
        Ok(())
    }

    // Notes.

    fn put(&mut self, number: u32) -> Result<()> {
        let Some(value) = self.top() else { return self.malformed("there is nothing to note") };
        let Notes { dense, others } = &mut self.notes;
        match number as usize {
            known if known < dense.len() => dense[known] = value,
            next if next == dense.len() => dense.push(value),
            _ => drop(others.insert(number, value)),
        }
        self.grow(0)
    }

    fn get(&mut self, number: u32) -> Result<()> {
        let Notes { dense, others } = &self.notes;
        match dense.get(number as usize).or_else(|| others.get(&number)) {
            Some(&value) => self.push(value),
            None => self.malformed("nothing is noted under this number"),
        }
    }
}

/// The module and name of a class or function.
pub(super) fn global<'a>(
    bytes: &'a [u8],
    cells: &Cells,
    value: Value,
) -> Option<(&'a str, &'a str)> {
    match value.kind() {
        Kind::Object(cell) => match cells.object(cell) {
            Object::Global(module, name) => {
                match [module, name].map(|value| literal(bytes, value)) {
                    [Some(Literal::Str(module)), Some(Literal::Str(name))] => Some((module, name)),
                    _ => None,
                }
            }
            _ => None,
        },
        _ => match literal(bytes, value) {
            Some(Literal::Global(module, name)) => Some((module, name)),
            _ => None,
        },
    }
}

impl<'a> Pickle<'a> {
    /// The module and name of a class or function.
    pub(super) fn global(&self, value: Value) -> Option<(&'a str, &'a str)> {
        global(self.bytes, &self.cells, value)
    }
}
