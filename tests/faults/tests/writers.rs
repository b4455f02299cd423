//! A sample of the orders of several writers; `cargo run -p connector-faults --release -- --writers`
//! plays all.

#![cfg(has_tracer)]

use connector_faults::explore::{PLAYS, explore, find, replay};
use std::path::Path;

const PROGRAM: &str = env!("CARGO_BIN_EXE_connector-faults");

/// Of the orders with one turn, every so many.
const EVERY: usize = 9;

#[test]
fn in_any_order_the_output_is_whole_and_nothing_is_left() {
    let mut wrong = Vec::new();
    for play in PLAYS {
        let explored = explore(play, Path::new(PROGRAM), 1, EVERY, 2).unwrap();
        assert!(explored.orders > 5 && explored.kills > 1, "{}: {explored:?}", play.name);
        for (order, what) in explored.violations {
            wrong.push(format!("--play '{}' --order {order}: {}", play.name, what.join("; ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_order_is_played_again() {
    let play = find("replace, no locks").unwrap();
    let order = "20:1,40:kill".parse().unwrap();
    assert_eq!(replay(play, Path::new(PROGRAM), &order).unwrap(), [""; 0]);
}
