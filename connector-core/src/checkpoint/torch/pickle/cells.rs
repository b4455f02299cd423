//! Where the values of a pickle are kept: in a third of what structures of their own would take, since
//! metadata of large runs has some hundred megabytes and many values to each of its bytes.

use crate::base::blocks::Blocks;
use std::iter::FusedIterator;

/// A value. It is where in the pickle the instruction stands that makes it, if that says all of it, as
/// for numbers and texts; or else the cell of its object, which several may share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value(u32);

/// The longest pickle, and the most cells: as far as a [`Value`] reaches.
pub(super) const FARTHEST: usize = (1 << 31) - 2;
const OBJECT: u32 = 1 << 31;

impl Value {
    /// What stands where nothing does.
    pub const NONE: Value = Value(u32::MAX);

    /// What the instruction at this byte makes.
    pub fn literal(at: usize) -> Self {
        Value(at as u32)
    }

    fn object(cell: usize) -> Self {
        Value(cell as u32 | OBJECT)
    }

    pub fn kind(self) -> Kind {
        match self {
            Value::NONE => Kind::None,
            Value(at) if at & OBJECT == 0 => Kind::Literal(at as usize),
            Value(cell) => Kind::Object((cell ^ OBJECT) as usize),
        }
    }
}

/// What a [`Value`] is.
pub(super) enum Kind {
    None,
    /// The byte of its instruction.
    Literal(usize),
    /// Its first cell.
    Object(usize),
}

/// What is in the cells of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object {
    /// So many values, which follow.
    Tuple(usize),
    /// A list or a set of so many values.
    List(usize),
    /// A dict; keys and values in turn.
    Dict(usize),
    /// The name of a class or function: the values of its module and name.
    Global(Value, Value),
    /// What Python would make by a call, and then fill: by its state, or as a collection.
    Call { callable: Value, args: Value, state: Value, items: Value },
    /// What only the reader of the file can resolve: a tensor's storage.
    Persistent(Value),
}

const TUPLE: u32 = 0;
const LIST: u32 = 1;
const DICT: u32 = 2;
const GLOBAL: u32 = 3;
const CALL: u32 = 4;
const PERSISTENT: u32 = 5;
/// The bits of the first cell that say what it is. The others count its values.
const TAG: u32 = 3;

/// The cells.
///
/// A collection that can grow has the cells of its first and last stretch of values behind its own. A
/// stretch is their number, where the next stretch is, and the values.
#[derive(Debug, Default)]
pub(super) struct Cells(Blocks<u32>);

impl Cells {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, cell: usize) -> u32 {
        self.0.get(cell)
    }

    fn set(&mut self, cell: usize, word: u32) {
        *self.0.get_mut(cell) = word;
    }

    fn push(&mut self, word: u32) {
        self.0.push(word);
    }

    fn value(&self, cell: usize) -> Value {
        Value(self.get(cell))
    }

    fn add(&mut self, tag: u32, count: usize, values: &[Value]) -> Value {
        let cell = self.len();
        self.push((count as u32) << TAG | tag);
        values.iter().for_each(|value| self.push(value.0));
        Value::object(cell)
    }

    pub fn tuple(&mut self, values: &[Value]) -> Value {
        self.add(TUPLE, values.len(), values)
    }

    pub fn list(&mut self) -> Value {
        self.add(LIST, 0, &[Value::NONE; 2])
    }

    pub fn dict(&mut self) -> Value {
        self.add(DICT, 0, &[Value::NONE; 2])
    }

    pub fn global(&mut self, module: Value, name: Value) -> Value {
        self.add(GLOBAL, 0, &[module, name])
    }

    pub fn call(&mut self, callable: Value, args: Value) -> Value {
        self.add(CALL, 0, &[callable, args, Value::NONE, Value::NONE])
    }

    pub fn persistent(&mut self, value: Value) -> Value {
        self.add(PERSISTENT, 0, &[value])
    }

    pub fn object(&self, cell: usize) -> Object {
        let first = self.get(cell);
        let count = (first >> TAG) as usize;
        match first & ((1 << TAG) - 1) {
            TUPLE => Object::Tuple(count),
            LIST => Object::List(count),
            DICT => Object::Dict(count),
            GLOBAL => Object::Global(self.value(cell + 1), self.value(cell + 2)),
            CALL => Object::Call {
                callable: self.value(cell + 1),
                args: self.value(cell + 2),
                state: self.value(cell + 3),
                items: self.value(cell + 4),
            },
            _ => Object::Persistent(self.value(cell + 1)),
        }
    }

    /// Gives the call at `cell` its state.
    pub fn set_state(&mut self, cell: usize, state: Value) {
        self.set(cell + 3, state.0);
    }

    /// The cell of the items of the call at `cell`, of which there may be none yet.
    pub fn items_of(&mut self, cell: usize) -> usize {
        if let Kind::Object(items) = self.value(cell + 4).kind() {
            return items;
        }
        let items = self.dict();
        self.set(cell + 4, items.0);
        (items.0 ^ OBJECT) as usize
    }

    /// Adds values to the list or dict at `cell`.
    pub fn extend(&mut self, cell: usize, values: &[Value]) {
        if values.is_empty() {
            return;
        }
        let count = self.get(cell) + ((values.len() as u32) << TAG);
        self.set(cell, count);
        let last = self.value(cell + 2);
        if let Kind::Object(stretch) = last.kind()
            && stretch + 2 + self.get(stretch) as usize == self.len()
        {
            let count = self.get(stretch) + values.len() as u32;
            self.set(stretch, count);
        } else {
            let stretch = Value::object(self.len());
            self.push(values.len() as u32);
            self.push(Value::NONE.0);
            match last.kind() {
                Kind::Object(last) => self.set(last + 1, stretch.0),
                _ => self.set(cell + 1, stretch.0),
            }
            self.set(cell + 2, stretch.0);
        }
        values.iter().for_each(|value| self.push(value.0));
    }

    /// The values of the collection at `cell`.
    pub fn values(&self, cell: usize) -> Values<'_> {
        match self.object(cell) {
            Object::Tuple(left) => {
                Values { cells: self, at: cell + 1, here: left, next: Value::NONE, left }
            }
            Object::List(left) | Object::Dict(left) => {
                Values { cells: self, at: 0, here: 0, next: self.value(cell + 1), left }
            }
            _ => self.no_values(),
        }
    }

    /// No values.
    pub fn no_values(&self) -> Values<'_> {
        Values { cells: self, at: 0, here: 0, next: Value::NONE, left: 0 }
    }
}

/// The values of a collection.
pub(super) struct Values<'p> {
    cells: &'p Cells,
    /// The next one's cell.
    at: usize,
    /// How many follow there.
    here: usize,
    /// The stretch behind them.
    next: Value,
    left: usize,
}

impl Iterator for Values<'_> {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        while self.here == 0 {
            let Kind::Object(stretch) = self.next.kind() else { return None };
            self.here = self.cells.get(stretch) as usize;
            self.next = self.cells.value(stretch + 1);
            self.at = stretch + 2;
        }
        let value = self.cells.value(self.at);
        (self.at, self.here, self.left) = (self.at + 1, self.here - 1, self.left - 1);
        Some(value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Values<'_> {}
impl FusedIterator for Values<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collections_grow_in_turns_and_over_many_blocks() {
        let mut cells = Cells::default();
        let [one, other] = [cells.list(), cells.dict()].map(|value| match value.kind() {
            Kind::Object(cell) => cell,
            _ => panic!("no object"),
        });
        let count = 50_000;
        for number in 0..count {
            cells.extend(one, &[Value::literal(number)]);
            if number % 7 == 0 {
                cells.extend(other, &[Value::literal(number), Value::NONE]);
            }
        }
        let literals = |cell| {
            let values = cells.values(cell);
            assert_eq!(values.len(), cells.values(cell).count());
            values.filter(|value| *value != Value::NONE).collect::<Vec<_>>()
        };
        assert_eq!(literals(one), (0..count).map(Value::literal).collect::<Vec<_>>());
        let sevenths: Vec<_> = (0..count).step_by(7).map(Value::literal).collect();
        assert_eq!(literals(other), sevenths);
        assert_eq!(cells.object(one), Object::List(count));
        // Where nothing came between, values lie together.
        assert!(cells.len() < count + sevenths.len() * 6 + 16, "{}", cells.len());
    }
}
