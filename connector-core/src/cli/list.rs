use super::exit::Exit;
use super::failure::Failure;
use super::page::{Column, Page};
use super::screen::Screen;
use crate::connector::{Direction, Registration, Registry};
use serde_json::{Value, json};

pub(super) fn run(screen: &mut Screen) -> Result<Exit, Failure> {
    let connectors = Registry::get()?.connectors();
    let importers: Vec<_> =
        connectors.iter().copied().filter(|c| c.direction == Direction::Import).collect();
    let exporters: Vec<_> = connectors
        .iter()
        .copied()
        .filter(|c| c.exports || c.direction == Direction::Export)
        .collect();

    let mut page = screen.page();
    show(&mut page, connectors);
    page.gap();
    for (word, meaning) in PROOFS {
        if connectors.iter().any(|c| proof(c) == word) {
            page.field(word, meaning);
        }
    }
    page.field(
        "flavors",
        "checkpoints for NeMo, Megatron-LM and Megatron-Bridge; import warns of what one cannot say",
    );
    page.field("computes", "`generate`, `logits` and `finetune` run the model");
    screen.show(&page);
    screen.document(|| {
        json!({
            "schema": "connector.list/1",
            "importers": importers.iter().map(|c| connector_json(c)).collect::<Vec<_>>(),
            "exporters": exporters.iter().map(|c| connector_json(c)).collect::<Vec<_>>(),
        })
    });
    Ok(Exit::Ok)
}

/// What the words mean; only those that occur are explained.
const PROOFS: [(&str, &str); 3] = [
    ("proven", "the compiler has checked that every parameter is produced, exactly once"),
    ("dynamic", "the connector converts in its own way, which is checked at run time only"),
    ("open", "the model declares no parameters, so nothing tells whether one is missing"),
];

/// One line for each model.
fn show(page: &mut Page, connectors: &[&Registration]) {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let heads = ["family", "architectures", "import", "export", "flavors", "computes", "rows"];
    rows.push(heads.map(String::from).into());
    // They are sorted by model.
    for all in connectors.chunk_by(|one, other| one.model == other.model) {
        let formats = |is: fn(&Registration) -> bool| {
            let formats = all.iter().filter(|c| is(c)).map(|c| c.format);
            or_none(&formats.collect::<Vec<_>>())
        };
        let architectures: Vec<&str> = all.iter().flat_map(|c| c.architectures).copied().collect();
        rows.push(vec![
            all[0].model.into(),
            or_none(&architectures),
            formats(|c| c.direction == Direction::Import),
            formats(|c| c.exports || c.direction == Direction::Export),
            yes_or_no(!flavors(all[0]).is_empty()),
            yes_or_no(all[0].connector.computes()),
            proof(all[0]).into(),
        ]);
    }
    if rows.len() == 1 {
        page.indented(2, "no connector is linked into this program");
        return;
    }
    page.table(2, &[Column::Left; 7], &rows);
}

fn or_none(words: &[&str]) -> String {
    if words.is_empty() { "-".into() } else { words.join(", ") }
}

fn yes_or_no(is: bool) -> String {
    if is { "yes" } else { "no" }.into()
}

/// The frameworks whose own files are written around the model.
fn flavors(connector: &Registration) -> &'static [&'static str] {
    match connector.connector.frameworks() {
        Some(_) => &["nemo", "megatron-lm", "megatron-bridge"],
        None => &[],
    }
}

fn proof(connector: &Registration) -> &'static str {
    match (connector.dynamic, connector.connector.schema().is_some()) {
        (true, _) => "dynamic",
        (false, true) => "proven",
        (false, false) => "open",
    }
}

pub(super) fn connector_json(connector: &Registration) -> Value {
    json!({
        "name": connector.name,
        "model": connector.model,
        "format": connector.format,
        "architectures": connector.architectures,
        "proof": proof(connector),
        "flavors": flavors(connector),
        "computes": connector.connector.computes(),
        "exports": connector.exports,
        "at": connector.at.to_string(),
    })
}
