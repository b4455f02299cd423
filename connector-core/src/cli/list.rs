use super::exit::Exit;
use super::failure::Failure;
use super::overview::short_name;
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
    section(&mut page, "importers", "from", &importers);
    page.gap();
    section(&mut page, "exporters", "to", &exporters);
    page.gap();
    for (word, meaning) in PROOFS {
        if connectors.iter().any(|c| proof(c) == word) {
            page.field(word, meaning);
        }
    }
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

fn section(page: &mut Page, title: &str, preposition: &str, connectors: &[&Registration]) {
    page.emphasised("  ", title, "");
    if connectors.is_empty() {
        page.indented(4, "none is linked into this program");
    }
    let columns = [Column::Left; 5];
    let row = |c: &&Registration| {
        let backwards = c.direction == Direction::Import && preposition == "to";
        let name = short_name(c);
        let how = if backwards { format!("{name} read backwards") } else { name.to_string() };
        vec![
            format!("{} {preposition} {}", c.model, c.format),
            c.architectures.join(", "),
            proof(c).to_string(),
            how,
            c.at.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = connectors.iter().map(row).collect();
    page.table(4, &columns, &rows);
}

fn proof(connector: &Registration) -> &'static str {
    match (connector.dynamic, connector.connector.has_schema()) {
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
        "exports": connector.exports,
        "at": connector.at.to_string(),
    })
}
