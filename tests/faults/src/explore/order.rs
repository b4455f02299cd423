//! Orders of calls.

use std::fmt;
use std::str::FromStr;

/// At which calls another actor goes on, or one dies. Everything else follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order(Vec<(usize, Turn)>);

/// What happens before a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The actor of this number goes on instead.
    To(usize),
    /// The actor is killed.
    Kill,
}

/// How an order went.
pub(super) struct Played {
    /// Of each call, the actors that could have gone on instead.
    pub decisions: Vec<Vec<usize>>,
    /// What should not have happened.
    pub wrong: Vec<String>,
}

impl Order {
    /// The turns, each with the number of the call before which it comes.
    pub fn turns(&self) -> &[(usize, Turn)] {
        &self.0
    }

    /// Whether an actor is killed.
    pub fn kills(&self) -> bool {
        self.0.iter().any(|(_, turn)| *turn == Turn::Kill)
    }

    pub(super) fn turn(&self, decision: usize) -> Option<Turn> {
        self.0.iter().find(|(at, _)| *at == decision).map(|(_, turn)| *turn)
    }

    /// The orders that are as this one, with one more turn after its last. An order in which all
    /// actors die says nothing, so one is enough.
    pub(super) fn continued(&self, decisions: &[Vec<usize>]) -> Vec<Order> {
        let first = self.0.last().map_or(0, |(at, _)| at + 1);
        let mut orders = Vec::new();
        for (at, others) in decisions.iter().enumerate().skip(first) {
            let others = others.iter().map(|&other| Turn::To(other));
            let kill = (!self.kills()).then_some(Turn::Kill);
            for turn in others.chain(kill) {
                let mut turns = self.0.clone();
                turns.push((at, turn));
                orders.push(Order(turns));
            }
        }
        orders
    }
}

/// As it is given on the command line: `12:1,40:kill`.
impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (at, turn) in &self.0 {
            match turn {
                Turn::To(actor) => write!(f, "{separator}{at}:{actor}")?,
                Turn::Kill => write!(f, "{separator}{at}:kill")?,
            }
            separator = ",";
        }
        Ok(())
    }
}

impl FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let turn = |text: &str| {
            let (at, turn) = text.split_once(':')?;
            let turn = match turn {
                "kill" => Turn::Kill,
                actor => Turn::To(actor.parse().ok()?),
            };
            Some((at.parse().ok()?, turn))
        };
        let turns = text.split(',').filter(|text| !text.is_empty()).map(turn);
        let turns: Option<Vec<_>> = turns.collect();
        turns.map(Order).ok_or_else(|| "an order is CALL:ACTOR or CALL:kill, with commas".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_as_they_are_written() {
        for text in ["", "3:1", "3:1,40:kill", "0:2,1:0"] {
            assert_eq!(text.parse::<Order>().unwrap().to_string(), text);
        }
        for text in ["3", "3:", "x:1", "3:dead"] {
            text.parse::<Order>().unwrap_err();
        }
    }

    #[test]
    fn each_continuation_comes_after_the_last_turn() {
        let decisions = [vec![1], vec![1], vec![]];
        let all = |order: &Order| -> Vec<String> {
            order.continued(&decisions).iter().map(ToString::to_string).collect()
        };
        assert_eq!(all(&Order::default()), ["0:1", "0:kill", "1:1", "1:kill", "2:kill"]);
        assert_eq!(all(&"0:kill".parse().unwrap()), ["0:kill,1:1"]);
    }
}
