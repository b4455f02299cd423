//! Graphs of objects as the Python library Fiddle writes them, which NeMo keeps in `io.json`.
//!
//! ```text
//! root     {"type": "ref", "key": "trainer_context_1"}
//! objects  "trainer_context_1": a Config: a call that is to be made
//!            items     ["Attr(name='model')", {"type": "ref", "key": "llama_model_1"}], …
//!            metadata  -> "buildable_traverser_metadata_9": what is called (fn_or_cls), the names
//!                         of its arguments ("tuple_10"), and two dicts that are empty here
//!            paths     ["<root>"]: by them NeMo finds a part, `load_context(…, subpath="model")`
//! refcounts  how often each object is referred to
//! version    of this format
//! ```
//!
//! A value that is no object is a leaf, in its place; a class or function is a `pyref`.

use super::python::Python;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// A call of a class or function with named arguments.
#[derive(Debug)]
pub(super) struct Call {
    pub module: String,
    pub name: String,
    pub args: Vec<(&'static str, Node)>,
    /// Whether it is left to be called with more arguments, as by Python's `functools.partial`.
    pub partial: bool,
}

#[derive(Debug)]
pub(super) enum Node {
    Value(Python),
    Call(Call),
}

impl Call {
    /// A call of the class or function at a path.
    pub fn new(path: &str, args: Vec<(&'static str, Node)>) -> Self {
        let (module, name) = path.rsplit_once('.').unwrap_or(("builtins", path));
        Call { module: module.into(), name: name.into(), args, partial: false }
    }

    /// A call that is left to be made with more arguments.
    pub fn partial(path: &str, args: Vec<(&'static str, Node)>) -> Self {
        Call { partial: true, ..Call::new(path, args) }
    }
}

impl From<Call> for Node {
    fn from(call: Call) -> Self {
        Node::Call(call)
    }
}

impl From<Python> for Node {
    fn from(value: Python) -> Self {
        Node::Value(value)
    }
}

/// The version of Fiddle's format.
const VERSION: &str = "0.0.1";
/// Where Fiddle defines its classes.
const CONFIG: &str = "fiddle._src.config";
/// Where its class of calls that are left to be made is.
const PARTIAL: &str = "fiddle._src.partial";
const METADATA: &str = "BuildableTraverserMetadata";

/// The graph whose root is `call`.
pub(super) fn write(call: &Call) -> Value {
    let mut graph = Graph::default();
    let root = graph.call(call, "<root>");
    let refcounts: Map<_, _> =
        graph.objects.keys().map(|key| (key.clone(), Value::from(1))).collect();
    json!({"root": root, "objects": graph.objects, "refcounts": refcounts, "version": VERSION})
}

#[derive(Default)]
struct Graph {
    objects: Map<String, Value>,
    counts: HashMap<String, usize>,
}

impl Graph {
    /// Adds an object under the next free name for its kind. What it refers to is added before it.
    fn add(&mut self, kind: &str, object: Value) -> Value {
        let count = self.counts.entry(kind.into()).or_default();
        *count += 1;
        let key = format!("{kind}_{count}");
        self.objects.insert(key.clone(), object);
        json!({"type": "ref", "key": key})
    }

    fn call(&mut self, call: &Call, path: &str) -> Value {
        let children: Vec<_> = call
            .args
            .iter()
            .map(|(name, node)| {
                let path = format!("{path}.{name}");
                let child = match node {
                    Node::Value(value) => self.value(value, &path),
                    Node::Call(call) => self.call(call, &path),
                };
                json!([attribute(name), child])
            })
            .collect();
        let names = call.args.iter().enumerate();
        let names: Vec<_> = names.map(|(n, (name, _))| json!([index(n), name])).collect();
        let names = self.add("tuple", object("builtins", "tuple", names, Value::Null));
        let tags = self.empty_dict();
        let history = self.empty_dict();
        let items = vec![
            json!([attribute("fn_or_cls"), pyref(&call.module, &call.name)]),
            json!([attribute("argument_names"), names]),
            json!([attribute("argument_tags"), tags]),
            json!([attribute("argument_history"), history]),
        ];
        let metadata = object(CONFIG, METADATA, items, pyref(CONFIG, METADATA));
        let metadata = self.add("buildable_traverser_metadata", metadata);
        let (module, class) = if call.partial { (PARTIAL, "Partial") } else { (CONFIG, "Config") };
        let mut config = object(module, class, children, metadata);
        config["paths"] = json!([path]);
        self.add(&snake_case(&call.name), config)
    }

    fn empty_dict(&mut self) -> Value {
        let no_keys = object("builtins", "tuple", Vec::new(), Value::Null);
        self.add("dict", object("builtins", "dict", Vec::new(), no_keys))
    }

    /// A value in its place, or a reference to one that has others in it.
    fn value(&mut self, value: &Python, path: &str) -> Value {
        let mut placed = match value {
            Python::Name(module, name) => pyref(module, name),
            Python::List(values) | Python::Tuple(values) => {
                let kind = if matches!(value, Python::List(_)) { "list" } else { "tuple" };
                let items = values.iter().enumerate().map(|(n, value)| {
                    let value = self.value(value, &format!("{path}[{n}]"));
                    json!([index(n), value])
                });
                let mut sequence = object("builtins", kind, items.collect(), Value::Null);
                sequence["paths"] = json!([path]);
                return self.add(kind, sequence);
            }
            Python::Dict(entries) => {
                let items = entries.iter().map(|(key, value)| {
                    let value = self.value(value, &format!("{path}['{key}']"));
                    json!([format!("Key(key='{key}')"), value])
                });
                let items = items.collect();
                let keys = entries.iter().enumerate();
                let keys = keys.map(|(n, (key, _))| json!([index(n), key])).collect::<Vec<_>>();
                let metadata = match keys.is_empty() {
                    true => object("builtins", "tuple", keys, Value::Null),
                    false => self.add("tuple", object("builtins", "tuple", keys, Value::Null)),
                };
                let mut dict = object("builtins", "dict", items, metadata);
                dict["paths"] = json!([path]);
                return self.add("dict", dict);
            }
            plain => json!({"type": "leaf", "value": plain.yaml()}),
        };
        placed["paths"] = json!([path]);
        placed
    }
}

fn object(module: &str, name: &str, items: Vec<Value>, metadata: Value) -> Value {
    json!({"type": pyref(module, name), "items": items, "metadata": metadata})
}

fn pyref(module: &str, name: &str) -> Value {
    json!({"type": "pyref", "module": module, "name": name})
}

fn attribute(name: &str) -> String {
    format!("Attr(name='{name}')")
}

fn index(number: usize) -> String {
    format!("Index(index={number})")
}

/// `MixtralConfig8x7B` is `mixtral_config8x7_b`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_after_their_classes() {
        for (class, want) in [
            ("LlamaModel", "llama_model"),
            ("MixtralConfig8x7B", "mixtral_config8x7_b"),
            ("Llama31Config", "llama31_config"),
            ("from_pretrained", "from_pretrained"),
        ] {
            assert_eq!(snake_case(class), want);
        }
    }

    #[test]
    fn parts_come_before_what_refers_to_them() {
        let inner = Call::new("a.b.Inner", vec![("x", Python::Int(1).into())]);
        let pair = Python::Tuple(vec![Python::Int(3), Python::Int(0)]);
        let outer = Call::new("a.Outer", vec![("inner", inner.into()), ("pair", pair.into())]);
        let graph = write(&outer);
        assert_eq!(graph["root"]["key"], "outer_1");
        let objects = graph["objects"].as_object().unwrap();
        assert_eq!(objects.keys().position(|key| key == "inner_1"), Some(4));
        assert_eq!(objects["inner_1"]["paths"], json!(["<root>.inner"]));
        let leaf = json!({"type": "leaf", "value": 1, "paths": ["<root>.inner.x"]});
        assert_eq!(objects["inner_1"]["items"], json!([["Attr(name='x')", leaf]]));
        assert_eq!(objects["buildable_traverser_metadata_1"]["items"][0][1], pyref("a.b", "Inner"));
        let items = &objects["outer_1"]["items"];
        let pair = items[1][1]["key"].as_str().unwrap();
        assert_eq!(objects[pair]["items"][0][0], "Index(index=0)");
        assert_eq!(objects[pair]["items"][1][1]["value"], 0);
    }
}
