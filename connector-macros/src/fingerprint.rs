use proc_macro2::{TokenStream, TokenTree};

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// FNV-1a over the tokens, whatever the space between them: formatting a function does not make
/// it another one.
pub fn fingerprint(tokens: TokenStream) -> u64 {
    continued(FNV_OFFSET, tokens)
}

fn continued(hash: u64, tokens: TokenStream) -> u64 {
    let add = |hash: u64, text: &str| {
        text.bytes().chain([0]).fold(hash, |hash, b| (hash ^ u64::from(b)).wrapping_mul(FNV_PRIME))
    };
    tokens.into_iter().fold(hash, |hash, token| match token {
        TokenTree::Group(group) => {
            let hash = add(hash, &format!("{:?}", group.delimiter()));
            add(continued(hash, group.stream()), "end")
        }
        token => add(hash, &token.to_string()),
    })
}
