use super::PickleError;
use super::opcode::*;
use std::collections::HashMap;

/// The most that a pickle may hold: nodes, elements and entries of the stack and the memo. Each
/// takes up to 80 bytes, so that a hostile file costs no more than 80 times its own length. The
/// metadata of 50 000 pieces with the states of an optimizer and the plans of all ranks takes about
/// 20 million.
const MOST_CELLS: usize = 1 << 25;

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

/// A value: a plain one, or the number of a node, which several may share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::checkpoint) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Node(u32),
}

/// What a value that is not plain holds.
#[derive(Debug)]
pub(in crate::checkpoint) enum Node<'a> {
    Str(&'a str),
    /// Bytes, or an integer that does not fit in 64 bits; a checkpoint has no use for what they say.
    Opaque,
    Tuple(Vec<Value>),
    /// A list or a set.
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    /// The name of a class or function.
    Global(&'a str, &'a str),
    /// What Python would make by a call, and then fill: by its state, or as a collection.
    Call {
        callable: Value,
        args: Value,
        state: Option<Value>,
        items: Vec<(Value, Value)>,
    },
    /// What only the reader of the file can resolve: a tensor's storage.
    Persistent(Value),
}

/// A pickle that was read: its nodes, and the value that is its result.
#[derive(Debug)]
pub(in crate::checkpoint) struct Pickle<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) top: Value,
    /// How many bytes it takes; files of old hold several one behind the other.
    pub len: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle at the beginning of `bytes`.
    pub fn read(bytes: &'a [u8]) -> Result<Self, PickleError> {
        let mut machine = Machine {
            bytes,
            at: 0,
            start: 0,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            cells: 0,
        };
        let top = machine.run()?;
        Ok(Pickle { nodes: machine.nodes, top, len: machine.at })
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the current instruction begins.
    start: usize,
    nodes: Vec<Node<'a>>,
    stack: Vec<Value>,
    /// The heights of the stack at which marks are set.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    cells: usize,
}

type Result<T, E = PickleError> = std::result::Result<T, E>;

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Value> {
        loop {
            self.start = self.at;
            let opcode = self.byte()?;
            if opcode == STOP {
                return self.pop();
            }
            self.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            PROTO => self.proto(),
            FRAME => self.take(8).map(drop),
            POP => self.pop().map(drop),
            POP_MARK => self.pop_to_mark().map(drop),
            MARK => self.mark(),

            NONE => self.push(Value::None),
            NEWTRUE => self.push(Value::Bool(true)),
            NEWFALSE => self.push(Value::Bool(false)),
            BININT1 => self.number(1).and_then(|n| self.push(Value::Int(n as i64))),
            BININT2 => self.number(2).and_then(|n| self.push(Value::Int(n as i64))),
            BININT => self.number(4).and_then(|n| self.push(Value::Int((n as u32 as i32).into()))),
            LONG1 => self.long(),
            BINFLOAT => self.float(),
            SHORT_BINUNICODE => self.text(1),
            BINUNICODE => self.text(4),
            BINUNICODE8 => self.text(8),
            SHORT_BINBYTES => self.opaque(1),
            BINBYTES => self.opaque(4),
            BINBYTES8 => self.opaque(8),

            EMPTY_TUPLE => self.push_node(Node::Tuple(Vec::new())),
            TUPLE1 => self.tuple(1),
            TUPLE2 => self.tuple(2),
            TUPLE3 => self.tuple(3),
            TUPLE => self.pop_to_mark().and_then(|values| self.push_node(Node::Tuple(values))),
            EMPTY_LIST | EMPTY_SET => self.push_node(Node::List(Vec::new())),
            FROZENSET => self.pop_to_mark().and_then(|values| self.push_node(Node::List(values))),
            EMPTY_DICT => self.push_node(Node::Dict(Vec::new())),
            APPEND => self.pop().and_then(|value| self.extend(vec![value])),
            APPENDS | ADDITEMS => self.pop_to_mark().and_then(|values| self.extend(values)),
            SETITEM => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])
            }
            SETITEMS => self.pop_to_mark().and_then(|values| self.set_items(&values)),

            GLOBAL => self.global(),
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
            BINPERSID => self.pop().and_then(|value| self.push_node(Node::Persistent(value))),

            BINPUT => self.number(1).and_then(|n| self.put(n as u32)),
            LONG_BINPUT => self.number(4).and_then(|n| self.put(n as u32)),
            MEMOIZE => self.put(self.memo.len() as u32),
            BINGET => self.number(1).and_then(|n| self.get(n as u32)),
            LONG_BINGET => self.number(4).and_then(|n| self.get(n as u32)),
            opcode => Err(PickleError::Opcode { opcode, at: self.start }),
        }
    }

    fn malformed<T>(&self, what: &'static str) -> Result<T> {
        Err(PickleError::Malformed { at: self.start, what })
    }

    // Bytes.

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let ends = PickleError::Ends { at: self.bytes.len() };
        let end = self.at.checked_add(len).ok_or(ends.clone())?;
        let taken = self.bytes.get(self.at..end).ok_or(ends)?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// An unsigned number of up to 8 bytes, little-endian.
    fn number(&mut self, len: usize) -> Result<u64> {
        let mut bytes = [0; 8];
        bytes[..len].copy_from_slice(self.take(len)?);
        Ok(u64::from_le_bytes(bytes))
    }

    /// Bytes with their length in front, in `width` bytes.
    fn counted(&mut self, width: usize) -> Result<&'a [u8]> {
        let len = self.number(width)?;
        self.take(usize::try_from(len).unwrap_or(usize::MAX))
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.bytes[self.at..];
        let Some(len) = rest.iter().position(|&byte| byte == b'\n') else {
            return Err(PickleError::Ends { at: self.bytes.len() });
        };
        let line = self.take(len + 1)?;
        std::str::from_utf8(&line[..len]).or_else(|_| self.malformed("a name is not UTF-8"))
    }

    // Room.

    fn grow(&mut self, cells: usize) -> Result<()> {
        self.cells += cells;
        if self.cells > MOST_CELLS {
            return Err(PickleError::TooLarge {
                at: self.start,
                limit: MOST_CELLS,
                what: "values",
            });
        }
        Ok(())
    }

    // The stack.

    fn push(&mut self, value: Value) -> Result<()> {
        self.grow(1)?;
        self.stack.push(value);
        Ok(())
    }

    fn push_node(&mut self, node: Node<'a>) -> Result<()> {
        self.nodes.push(node);
        self.push(Value::Node(self.nodes.len() as u32 - 1))
    }

    fn pop(&mut self) -> Result<Value> {
        if self.stack.len() <= self.marks.last().copied().unwrap_or(0) {
            return self.malformed("nothing is on the stack");
        }
        Ok(self.stack.pop().unwrap_or(Value::None))
    }

    fn mark(&mut self) -> Result<()> {
        if self.marks.len() == DEEPEST {
            let what = "collections inside each other";
            return Err(PickleError::TooLarge { at: self.start, limit: DEEPEST, what });
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>> {
        match self.marks.pop() {
            Some(height) => Ok(self.stack.split_off(height)),
            None => self.malformed("there is no mark"),
        }
    }

    /// The node on top of the stack, to be filled.
    fn top(&mut self) -> Result<&mut Node<'a>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(Value::Node(number)) if self.stack.len() > floor => {
                Ok(&mut self.nodes[*number as usize])
            }
            _ => self.malformed("there is nothing to fill"),
        }
    }

    // Values.

    fn proto(&mut self) -> Result<()> {
        match self.byte()? {
            2..=5 => Ok(()),
            _ => self.malformed("the protocol is not one of 2 to 5"),
        }
    }

    fn long(&mut self) -> Result<()> {
        let bytes = self.counted(1)?;
        let Some(last) = bytes.last() else { return self.push(Value::Int(0)) };
        if bytes.len() > 8 {
            return self.push_node(Node::Opaque);
        }
        // The sign goes on to the left.
        let mut all = [if last & 0x80 == 0 { 0 } else { 0xff }; 8];
        all[..bytes.len()].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(all)))
    }

    fn float(&mut self) -> Result<()> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.take(8)?);
        self.push(Value::Float(f64::from_be_bytes(bytes)))
    }

    fn text(&mut self, width: usize) -> Result<()> {
        let bytes = self.counted(width)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => self.push_node(Node::Str(text)),
            Err(_) => self.malformed("a text is not UTF-8"),
        }
    }

    fn opaque(&mut self, width: usize) -> Result<()> {
        self.counted(width)?;
        self.push_node(Node::Opaque)
    }

    fn tuple(&mut self, len: usize) -> Result<()> {
        let mut values = Vec::with_capacity(len);
        for _ in 0..len {
            values.push(self.pop()?);
        }
        values.reverse();
        self.push_node(Node::Tuple(values))
    }

    fn extend(&mut self, values: Vec<Value>) -> Result<()> {
        match self.top()? {
            Node::List(list) => list.extend(values),
            // A class that is a list.
            Node::Call { items, .. } => items.extend(values.into_iter().map(|v| (Value::None, v))),
            _ => return self.malformed("only a list can be appended to"),
        }
        Ok(())
    }

    fn set_items(&mut self, values: &[Value]) -> Result<()> {
        if !values.len().is_multiple_of(2) {
            return self.malformed("a key has no value");
        }
        let pairs = values.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        match self.top()? {
            Node::Dict(items) | Node::Call { items, .. } => items.extend(pairs),
            _ => return self.malformed("only a dict has items"),
        }
        Ok(())
    }

    // Names and calls.

    fn global(&mut self) -> Result<()> {
        let (module, name) = (self.line()?, self.line()?);
        self.push_node(Node::Global(module, name))
    }

    fn stack_global(&mut self) -> Result<()> {
        let (name, module) = (self.pop()?, self.pop()?);
        match (self.node(module), self.node(name)) {
            (Some(&Node::Str(module)), Some(&Node::Str(name))) => {
                self.push_node(Node::Global(module, name))
            }
            _ => self.malformed("a class has no name"),
        }
    }

    fn node(&self, value: Value) -> Option<&Node<'a>> {
        match value {
            Value::Node(number) => self.nodes.get(number as usize),
            _ => None,
        }
    }

    fn call(&mut self, callable: Value, args: Value) -> Result<()> {
        let Some(&Node::Global(module, name)) = self.node(callable) else {
            return self.malformed("what is called is no class or function");
        };
        let package = module.split('.').next().unwrap_or(module);
        let listed = || NAMES.iter().any(|(of, names)| *of == module && names.contains(&name));
        if !PACKAGES.contains(&package) && !listed() {
            return Err(PickleError::Call { name: format!("{module}.{name}") });
        }
        self.push_node(Node::Call { callable, args, state: None, items: Vec::new() })
    }

    fn build(&mut self) -> Result<()> {
        let made = self.pop()?;
        match self.top()? {
            Node::Call { state, .. } => *state = Some(made),
            _ => return self.malformed("only an object has a state"),
        }
        Ok(())
    }

    // The memo.

    fn put(&mut self, number: u32) -> Result<()> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(&value) if self.stack.len() > floor => {
                self.grow(1)?;
                self.memo.insert(number, value);
                Ok(())
            }
            _ => self.malformed("there is nothing to note"),
        }
    }

    fn get(&mut self, number: u32) -> Result<()> {
        match self.memo.get(&number) {
            Some(&value) => self.push(value),
            None => self.malformed("nothing is noted under this number"),
        }
    }
}
