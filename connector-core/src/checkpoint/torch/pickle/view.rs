use super::cells::{Kind, Object, Value, Values};
use super::literal::Literal;
use super::{Pickle, PickleError};

/// A value of a pickle and the path that leads to it, to ask for what it should be.
///
/// Nothing here recurses, so that a value that holds itself is harmless: whoever asks goes as deep
/// as the format he expects.
#[derive(Clone, Copy)]
pub(crate) struct View<'p, 'a> {
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
    /// Its cell and what is in it, if it is an object.
    fn object_at(self) -> Option<(usize, Object)> {
        match self.value.kind() {
            Kind::Object(cell) => Some((cell, self.pickle.cells.object(cell))),
            _ => None,
        }
    }

    fn literal(self) -> Option<Literal<'a>> {
        self.pickle.literal(self.value)
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
        if let Some((module, name)) = self.pickle.global(self.value) {
            return format!("{module}.{name}");
        }
        if let Some((_, object)) = self.object_at() {
            return match object {
                Object::Tuple(count) => format!("a tuple of {count}"),
                Object::List(count) => format!("a list of {count}"),
                Object::Dict(count) => format!("a dict of {}", count / 2),
                Object::Call { callable, .. } => match self.pickle.global(callable) {
                    Some((module, name)) => format!("an object of {module}.{name}"),
                    None => "an object".into(),
                },
                Object::Persistent(_) => "a tensor's storage".into(),
                Object::Global(..) => "a class".into(),
            };
        }
        match self.literal() {
            Some(Literal::None) => "None".into(),
            Some(Literal::Bool(value)) => if value { "True" } else { "False" }.into(),
            Some(Literal::Int(value)) => value.to_string(),
            Some(Literal::Float(value)) => value.to_string(),
            Some(Literal::Str(text)) => {
                format!("the text \"{}\"", crate::checkpoint::safetensors::shown(text))
            }
            Some(Literal::EmptyTuple) => "a tuple of 0".into(),
            _ => "bytes".into(),
        }
    }

    pub fn is_none(self) -> bool {
        self.literal() == Some(Literal::None)
    }

    /// A plain value as JSON has it; null for all others.
    pub fn scalar(self) -> serde_json::Value {
        match self.literal() {
            Some(Literal::Bool(value)) => value.into(),
            Some(Literal::Int(value)) => value.into(),
            Some(Literal::Float(value)) => value.into(),
            Some(Literal::Str(text)) => text.into(),
            _ => serde_json::Value::Null,
        }
    }

    pub fn is_true(self) -> bool {
        self.literal() == Some(Literal::Bool(true))
    }

    pub fn int(self) -> Option<i64> {
        match self.literal() {
            Some(Literal::Int(value)) => Some(value),
            _ => None,
        }
    }

    /// A number of bytes or elements, or a position.
    pub fn count(self) -> Result<u64> {
        let count = self.int().and_then(|n| u64::try_from(n).ok());
        count.ok_or_else(|| self.unexpected("a number of 0 or more"))
    }

    pub fn text(self) -> Result<&'a str> {
        match self.literal() {
            Some(Literal::Str(text)) => Ok(text),
            _ => Err(self.unexpected("a text")),
        }
    }

    /// The module and name of a class or function.
    pub fn global(self) -> Result<(&'a str, &'a str)> {
        self.pickle.global(self.value).ok_or_else(|| self.unexpected("a class"))
    }

    /// The elements of a list or tuple.
    pub fn list(self) -> Result<impl ExactSizeIterator<Item = Self> + use<'p, 'a>> {
        let values = match (self.object_at(), self.literal()) {
            (Some((cell, Object::List(_) | Object::Tuple(_))), _) => self.pickle.cells.values(cell),
            (_, Some(Literal::EmptyTuple)) => self.pickle.cells.no_values(),
            _ => return Err(self.unexpected("a list")),
        };
        Ok(values.map(move |value| self.at(value)))
    }

    /// The keys and values of a dict.
    pub fn dict(self) -> Result<impl ExactSizeIterator<Item = (Self, Self)> + use<'p, 'a>> {
        let values = match self.object_at() {
            Some((cell, Object::Dict(_))) => self.pickle.cells.values(cell),
            Some((_, Object::Call { items, .. })) => match items.kind() {
                Kind::Object(cell) => self.pickle.cells.values(cell),
                _ => self.pickle.cells.no_values(),
            },
            _ => return Err(self.unexpected("a dict")),
        };
        Ok(Pairs(values).map(move |(key, value)| (self.at(key), self.at(value))))
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
        match self.object_at()? {
            (_, Object::Call { callable, args, .. }) => {
                Some((self.pickle.global(callable)?, self.at(args)))
            }
            _ => None,
        }
    }

    /// The state of an object of the class `name`, wherever that is defined: modules move.
    pub fn object(self, name: &str, expected: &'static str) -> Result<Self> {
        match self.object_at() {
            Some((_, Object::Call { callable, state, .. }))
                if self.pickle.global(callable).is_some_and(|(_, found)| found == name) =>
            {
                Ok(self.at(state))
            }
            _ => Err(self.unexpected(expected)),
        }
    }

    /// What stands for a tensor's storage.
    pub fn persistent(self) -> Result<Self> {
        match self.object_at() {
            Some((_, Object::Persistent(value))) => Ok(self.at(value)),
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

/// Values two by two.
struct Pairs<'p>(Values<'p>);

impl Iterator for Pairs<'_> {
    type Item = (Value, Value);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().zip(self.0.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len() / 2, Some(self.0.len() / 2))
    }
}

impl ExactSizeIterator for Pairs<'_> {}
