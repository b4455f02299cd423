use crate::store::Dtype;

/// What torch calls the types: in `.metadata`, and the class of storage in a record. Types of one
/// byte that are newer have no class, and records of another kind.
const TABLE: [(Dtype, &str, Option<&str>); 12] = [
    (Dtype::F32, "float32", Some("FloatStorage")),
    (Dtype::Bf16, "bfloat16", Some("BFloat16Storage")),
    (Dtype::F16, "float16", Some("HalfStorage")),
    (Dtype::F64, "float64", Some("DoubleStorage")),
    (Dtype::I64, "int64", Some("LongStorage")),
    (Dtype::I32, "int32", Some("IntStorage")),
    (Dtype::I16, "int16", Some("ShortStorage")),
    (Dtype::I8, "int8", Some("CharStorage")),
    (Dtype::U8, "uint8", Some("ByteStorage")),
    (Dtype::Bool, "bool", Some("BoolStorage")),
    (Dtype::F8E4M3, "float8_e4m3fn", None),
    (Dtype::F8E5M2, "float8_e5m2", None),
];

/// The type that `torch.<name>` is.
pub(crate) fn dtype(name: &str) -> Option<Dtype> {
    TABLE.iter().find(|row| row.1 == name).map(|row| row.0)
}

/// The type of the elements of a class of storage.
pub(crate) fn of_storage(class: &str) -> Option<Dtype> {
    TABLE.iter().find(|row| row.2 == Some(class)).map(|row| row.0)
}

/// What torch calls a type, and the class of its storage; `None` for types without one.
pub(crate) fn names(dtype: Dtype) -> Option<(&'static str, &'static str)> {
    let (_, name, class) = TABLE.iter().find(|row| row.0 == dtype)?;
    class.map(|class| (*name, class))
}

/// The class of storage for a type.
pub(crate) fn storage(dtype: Dtype) -> Option<&'static str> {
    names(dtype).map(|(_, class)| class)
}
