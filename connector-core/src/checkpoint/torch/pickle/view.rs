use super::{Node, Pickle, PickleError, Value};

/// A value of a pickle and the path that leads to it, to ask for what it should be.
///
/// Nothing here recurses, so that a value that holds itself is harmless: whoever asks goes as deep
/// as the format he expects.
#[derive(Clone, Copy)]
pub(in crate::checkpoint) struct View<'p, 'a> {
    pickle: &'p Pickle<'a>,
    value: Value,
    place: &'p str,
}

type Result<T, E = PickleError> = std::result::Result<T, E>;

impl<'a> Pickle<'a> {
    /// The result. `place` names it in messages.
    pub fn top<'p>(&'p self, place: &'p str) -> View<'p, 'a> {
        View { pickle: self, value: self.top, place }
    }
}

impl<'p, 'a> View<'p, 'a> {
    fn node(self) -> Option<&'p Node<'a>> {
        match self.value {
            Value::Node(number) => self.pickle.nodes.get(number as usize),
            _ => None,
        }
    }

    fn at(self, value: Value) -> Self {
        View { value, ..self }
    }

    /// The same value under another name.
    pub fn named(self, place: &'p str) -> Self {
        View { place, ..self }
    }

    /// For `ok_or_else`: something else was expected here.
    pub fn unexpected(self, expected: &'static str) -> PickleError {
        let place = self.place.to_string();
        PickleError::Unexpected { place, expected, found: self.described() }
    }

    fn described(self) -> String {
        match (self.value, self.node()) {
            (Value::None, _) => "None".into(),
            (Value::Bool(value), _) => if value { "True" } else { "False" }.into(),
            (Value::Int(value), _) => value.to_string(),
            (Value::Float(value), _) => value.to_string(),
            (_, Some(Node::Str(text))) => {
                format!("the text \"{}\"", crate::checkpoint::safetensors::shown(text))
            }
            (_, Some(Node::Tuple(values))) => format!("a tuple of {}", values.len()),
            (_, Some(Node::List(values))) => format!("a list of {}", values.len()),
            (_, Some(Node::Dict(items))) => format!("a dict of {}", items.len()),
            (_, Some(Node::Global(module, name))) => format!("{module}.{name}"),
            (_, Some(Node::Call { callable, .. })) => {
                format!("an object of {}", self.at(*callable).described())
            }
            (_, Some(Node::Persistent(_))) => "a tensor's storage".into(),
            (_, Some(Node::Opaque) | None) => "bytes".into(),
        }
    }

    pub fn is_none(self) -> bool {
        self.value == Value::None
    }

    /// A plain value as JSON has it; null for all others.
    pub fn scalar(self) -> serde_json::Value {
        match (self.value, self.node()) {
            (Value::Bool(value), _) => value.into(),
            (Value::Int(value), _) => value.into(),
            (Value::Float(value), _) => value.into(),
            (_, Some(&Node::Str(text))) => text.into(),
            _ => serde_json::Value::Null,
        }
    }

    pub fn is_true(self) -> bool {
        self.value == Value::Bool(true)
    }

    pub fn int(self) -> Option<i64> {
        match self.value {
            Value::Int(value) => Some(value),
            _ => None,
        }
    }

    /// A number of bytes or elements, or a position.
    pub fn count(self) -> Result<u64> {
        let count = self.int().and_then(|n| u64::try_from(n).ok());
        count.ok_or_else(|| self.unexpected("a number of 0 or more"))
    }

    pub fn text(self) -> Result<&'a str> {
        match self.node() {
            Some(Node::Str(text)) => Ok(text),
            _ => Err(self.unexpected("a text")),
        }
    }

    /// The module and name of a class or function.
    pub fn global(self) -> Result<(&'a str, &'a str)> {
        match self.node() {
            Some(Node::Global(module, name)) => Ok((module, name)),
            _ => Err(self.unexpected("a class")),
        }
    }

    /// The elements of a list or tuple.
    pub fn list(self) -> Result<impl ExactSizeIterator<Item = Self> + use<'p, 'a>> {
        match self.node() {
            Some(Node::List(values) | Node::Tuple(values)) => {
                Ok(values.iter().map(move |&value| self.at(value)))
            }
            _ => Err(self.unexpected("a list")),
        }
    }

    /// The keys and values of a dict.
    pub fn dict(self) -> Result<impl ExactSizeIterator<Item = (Self, Self)> + use<'p, 'a>> {
        match self.node() {
            Some(Node::Dict(items) | Node::Call { items, .. }) => {
                Ok(items.iter().map(move |&(key, value)| (self.at(key), self.at(value))))
            }
            _ => Err(self.unexpected("a dict")),
        }
    }

    /// The value under a key of a dict, if it is there.
    pub fn get(self, key: &'p str) -> Result<Option<Self>> {
        let found = self.dict()?.filter(|(found, _)| found.text() == Ok(key)).last();
        Ok(found.map(|(_, value)| value.named(key)))
    }

    /// The value under a key of a dict.
    pub fn field(self, key: &'p str) -> Result<Self> {
        self.get(key)?.ok_or_else(|| PickleError::Unexpected {
            place: key.into(),
            expected: "a value",
            found: format!("nothing under this name in {}", self.place),
        })
    }

    /// What a call calls, and with what.
    pub fn call(self) -> Option<((&'a str, &'a str), Self)> {
        match self.node() {
            Some(&Node::Call { callable, args, .. }) => {
                Some((self.at(callable).global().ok()?, self.at(args)))
            }
            _ => None,
        }
    }

    /// The state of an object of the class `name`, wherever that is defined: modules move.
    pub fn object(self, name: &str, expected: &'static str) -> Result<Self> {
        match (self.call(), self.node()) {
            (Some(((_, found), _)), Some(&Node::Call { state, .. })) if found == name => {
                Ok(self.at(state.unwrap_or(Value::None)))
            }
            _ => Err(self.unexpected(expected)),
        }
    }

    /// What stands for a tensor's storage.
    pub fn persistent(self) -> Result<Self> {
        match self.node() {
            Some(&Node::Persistent(value)) => Ok(self.at(value)),
            _ => Err(self.unexpected("a tensor's storage")),
        }
    }

    /// The dimensions in a `torch.Size` or a tuple.
    pub fn dimensions(self) -> Result<Vec<usize>> {
        /// torch has no more.
        const MOST: usize = 64;
        let args = match self.call() {
            Some((("torch", "Size"), args)) => {
                args.list()?.next().ok_or_else(|| self.unexpected("a torch.Size"))?
            }
            _ => self,
        };
        let list = args.list()?;
        if list.len() > MOST {
            return Err(self.unexpected("at most 64 dimensions"));
        }
        list.map(|n| n.count().map(|n| usize::try_from(n).unwrap_or(usize::MAX))).collect()
    }
}
