//! A `config.json` as the fields of a Rust struct, and the numbers that shapes may be made of.

use super::idioms::{SETTINGS, Setting, SettingKind};
use super::names::{identifier, plain, unique};
use serde_json::Value;

/// Where a checkpoint of several models keeps the language model's fields.
const INNER: &str = "text_config";
/// The most numbers outside of the known fields that shapes are explained with.
const MOST_OTHERS: usize = 48;
/// What `gpt::rope` reads.
const ROPE: [&str; 3] = ["rope_theta", "rope_parameters", "rope_scaling"];

/// A field that the draft's config may have.
pub struct Field {
    /// Its name in Rust: Megatron's if there is one.
    pub name: String,
    /// Where it is in `config.json`; dots lead into objects.
    pub path: String,
    pub kind: SettingKind,
    pub meaning: String,
    /// Its value, if shapes may be made of it.
    pub size: Option<u64>,
    /// What its absence means, as a row of a `config_map!` has it; empty if it must be there.
    pub absent: String,
    /// Whether the draft's config has it even if no shape needs it.
    pub wanted: bool,
}

/// What the draft makes of a `config.json`.
pub struct Config<'a> {
    json: &'a Value,
    pub fields: Vec<Field>,
    /// Whether the rotary embedding is described, which `gpt::rope` reads.
    pub rope: bool,
}

impl<'a> Config<'a> {
    pub fn new(json: &'a Value) -> Self {
        let rope = ROPE.iter().any(|name| json.get(name).is_some_and(|value| !value.is_null()));
        let mut config = Config { json, fields: Vec::new(), rope };
        for setting in &SETTINGS {
            config.fields.extend(config.known(setting));
        }
        config.derive();
        let place = |field: &Field| SETTINGS.iter().position(|known| known.name == field.name);
        config.fields.sort_by_key(place);
        config.others();
        config
    }

    /// The field's value; dots lead into objects.
    pub fn raw(&self, path: &str) -> Option<&'a Value> {
        path.split('.').try_fold(self.json, |value, part| value.get(part))
    }

    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The size called `name`, if there is one.
    pub fn size(&self, name: &str) -> Option<u64> {
        self.field(name)?.size
    }

    fn known(&self, setting: &Setting) -> Option<Field> {
        let spellings = setting.spellings.iter();
        let paths = spellings
            .clone()
            .map(|name| name.to_string())
            .chain(spellings.map(|name| format!("{INNER}.{name}")));
        let (path, value) = paths
            .filter_map(|path| self.raw(&path).map(|value| (path, value)))
            .find(|(_, value)| fits(setting.kind, value))?;
        Some(Field {
            name: setting.name.into(),
            path,
            kind: setting.kind,
            meaning: setting.meaning.into(),
            size: value.as_u64().filter(|_| setting.kind == SettingKind::Size),
            absent: setting.absent.into(),
            // Which switches matter, the tensors tell.
            wanted: setting.kind != SettingKind::Switch,
        })
    }

    /// The sizes that follow from others where the config leaves them out.
    fn derive(&mut self) {
        let (Some(hidden), Some(heads)) =
            (self.size("hidden_size"), self.size("num_attention_heads").filter(|n| *n > 0))
        else {
            // Nothing that an absent field could follow from.
            self.fields.iter_mut().for_each(|field| field.absent.clear());
            return;
        };
        for (name, size) in [("num_query_groups", heads), ("kv_channels", hidden / heads)] {
            let setting = SETTINGS.iter().find(|setting| setting.name == name);
            if let (None, Some(setting)) = (self.field(name), setting) {
                let inner = self.field("hidden_size").is_some_and(|f| f.path.contains('.'));
                let inner = if inner { format!("{INNER}.") } else { String::new() };
                self.fields.push(Field {
                    name: name.into(),
                    path: format!("{inner}{}", setting.spellings[0]),
                    kind: SettingKind::Size,
                    meaning: setting.meaning.into(),
                    size: Some(size),
                    absent: setting.absent.into(),
                    wanted: false,
                });
            }
        }
    }

    /// Whole numbers that no table knows.
    fn others(&mut self) {
        let inner = self.json.get(INNER).and_then(Value::as_object);
        let inner = inner.into_iter().flatten().map(|(name, v)| (format!("{INNER}.{name}"), v));
        let outer = self.json.as_object().into_iter().flatten();
        let all = outer.map(|(name, value)| (name.clone(), value)).chain(inner);
        let is_size = |path: &str, value: &Value| {
            // Dots inside of a name would lead somewhere else.
            let name = path.strip_prefix("text_config.").unwrap_or(path);
            value.as_u64().is_some_and(|n| n > 1)
                && !name.contains('.')
                && !name.contains("token_id")
                && !name.starts_with('_')
        };
        let known = |path: &String| self.fields.iter().any(|field| field.path == *path);
        let new: Vec<(String, &Value)> = all
            .filter(|(path, value)| is_size(path, value) && !known(path))
            .take(MOST_OTHERS)
            .collect();
        for (path, value) in new {
            let name = unique(identifier(&path), |name| {
                let reserved = ["rotary_base", "rope_scaling"].contains(&name);
                reserved || self.field(name).is_some()
            });
            self.fields.push(Field {
                name,
                meaning: format!("`{}` of `config.json`.", plain(&path)),
                path,
                kind: SettingKind::Size,
                size: value.as_u64(),
                absent: String::new(),
                wanted: false,
            });
        }
    }

    /// The fields that nothing reads and that are not null: their paths and their values.
    pub fn unread(&self, is_read: impl Fn(&Field) -> bool) -> Vec<(String, &'a Value)> {
        let read: Vec<&str> =
            self.fields.iter().filter(|field| is_read(field)).map(|f| f.path.as_str()).collect();
        let mut unread = Vec::new();
        for (name, value) in self.json.as_object().into_iter().flatten() {
            if read.contains(&name.as_str()) || ROPE.contains(&name.as_str()) && self.rope {
                continue;
            }
            let inside = format!("{name}.");
            match value.as_object() {
                Some(object) if read.iter().any(|path| path.starts_with(&inside)) => {
                    for (inner, value) in object {
                        let path = format!("{inside}{inner}");
                        if !read.contains(&path.as_str()) && !value.is_null() {
                            unread.push((path, value));
                        }
                    }
                }
                _ if value.is_null() => {}
                _ => unread.push((name.clone(), value)),
            }
        }
        unread
    }
}

fn fits(kind: SettingKind, value: &Value) -> bool {
    match kind {
        SettingKind::Size | SettingKind::Count => value.as_u64().is_some_and(|n| n > 0),
        SettingKind::Real => value.is_number(),
        SettingKind::Switch => value.is_boolean(),
        SettingKind::Text => value.is_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_take_megatrons_names_whatever_their_spelling() {
        for (json, name, path, size) in [
            (json!({"hidden_size": 48}), "hidden_size", "hidden_size", Some(48)),
            (json!({"n_embd": 48}), "hidden_size", "n_embd", Some(48)),
            (
                json!({"text_config": {"n_head": 4}}),
                "num_attention_heads",
                "text_config.n_head",
                Some(4),
            ),
            (json!({"rms_norm_eps": 1e-5}), "layernorm_epsilon", "rms_norm_eps", None),
            (json!({"kernel": 3}), "kernel", "kernel", Some(3)),
        ] {
            let config = Config::new(&json);
            let field = config.field(name).unwrap();
            assert_eq!((field.path.as_str(), field.size), (path, size), "{json}");
        }
    }

    #[test]
    fn absent_sizes_follow_from_others() {
        let json = json!({"hidden_size": 48, "num_attention_heads": 6});
        let config = Config::new(&json);
        assert_eq!(config.size("kv_channels"), Some(8));
        assert_eq!(config.size("num_query_groups"), Some(6));
        let json = json!({"hidden_size": 48, "num_attention_heads": 0});
        assert_eq!(Config::new(&json).size("kv_channels"), None);
    }

    #[test]
    fn what_is_not_read_is_listed() {
        let json = json!({
            "hidden_size": 8, "residual_scale": 0.5, "use_qk_norm": null, "rope_theta": 1e4,
            "text_config": {"num_heads": 2, "attn_cap": 3.0}, "vision_config": {"layers": 2},
        });
        let config = Config::new(&json);
        let unread = config.unread(|field| field.wanted);
        let paths: Vec<&str> = unread.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["residual_scale", "text_config.attn_cap", "vision_config"]);
    }
}
