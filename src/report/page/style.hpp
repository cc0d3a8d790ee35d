#pragma once

namespace dinoxx::report {

/// One style sheet for all pages: light and dark, phone, print. Series are told apart by colour and by dashes.
inline constexpr const char* kStyle = R"(
:root{--bg:#fff;--fg:#1c2128;--soft:#57606a;--line:#d0d7de;--panel:#f6f8fa;--link:#0550ae;--good:#116329;--bad:#a40e26;
--c0:#0b5fa5;--c1:#b3400e;--c2:#1a7f37;--c3:#7a3ec8;--c4:#8a5a00;--c5:#0a7683;--c6:#b5185c;--c7:#57606a;--heat:11,95,165}
@media(prefers-color-scheme:dark){:root{--bg:#0f1419;--fg:#e6edf3;--soft:#9da7b1;--line:#3a424b;--panel:#182029;--link:#79b8ff;--good:#56d364;--bad:#ff8a80;
--c0:#6cb6ff;--c1:#ff9d5c;--c2:#6bc46d;--c3:#c9a2ff;--c4:#e3b341;--c5:#56d4dd;--c6:#ff8cc0;--c7:#adbac7;--heat:108,182,255}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:1rem;background:var(--bg);color:var(--fg);font:1rem/1.5 system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif;overflow-wrap:break-word}
h1{font-size:1.6rem;line-height:1.2;margin:.5rem 0}h2{font-size:1.25rem;margin:2rem 0 .5rem;padding-bottom:.2rem;border-bottom:1px solid var(--line)}h3{font-size:1.05rem;margin:1.2rem 0 .4rem}
header p,figcaption,caption,.soft{color:var(--soft)}
a{color:var(--link)}a:focus-visible,.scroll:focus-visible,summary:focus-visible{outline:2px solid var(--link);outline-offset:2px}
nav ul{display:flex;flex-wrap:wrap;gap:.2rem 1rem;list-style:none;padding:0;margin:.5rem 0}
.scroll{overflow-x:auto;margin:.8rem 0}
table{border-collapse:collapse;font-size:.9rem}caption{text-align:left;padding:.3rem 0;font-size:.9rem}
th,td{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
thead th{border-bottom:2px solid var(--line);background:var(--panel);font-weight:600}tbody th{font-weight:500;min-width:6.5rem}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
abbr{text-decoration:underline dotted;cursor:help}
.facts td{overflow-wrap:anywhere}
.verdict{background:var(--panel);border-left:.3rem solid var(--c0);padding:.6rem 1rem;margin:1rem 0}.verdict strong{font-size:1.15rem}
.warn{border-left-color:var(--bad)}.good{color:var(--good)}.bad{color:var(--bad)}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,20rem),1fr));gap:1rem;margin:1rem 0}
figure{margin:0;min-width:0;max-width:34rem}figure svg{display:block;width:100%;height:auto}figcaption{font-size:.85rem}
svg text{fill:var(--fg);font-size:13px}svg .soft{fill:var(--soft)}svg .grid{stroke:var(--line);stroke-width:1}svg .axis{stroke:var(--soft);stroke-width:1}
svg .l{fill:none;stroke-width:2}svg .b{stroke:none;opacity:.18}
.s0{stroke:var(--c0);fill:var(--c0)}.s1{stroke:var(--c1);fill:var(--c1);stroke-dasharray:7 3}.s2{stroke:var(--c2);fill:var(--c2);stroke-dasharray:2 3}.s3{stroke:var(--c3);fill:var(--c3);stroke-dasharray:10 3 2 3}
.s4{stroke:var(--c4);fill:var(--c4)}.s5{stroke:var(--c5);fill:var(--c5);stroke-dasharray:7 3}.s6{stroke:var(--c6);fill:var(--c6);stroke-dasharray:2 3}.s7{stroke:var(--c7);fill:var(--c7);stroke-dasharray:10 3 2 3}
svg circle{stroke-dasharray:none!important}svg .x{fill:none;stroke-width:1.8;stroke-dasharray:none}svg .other{fill:var(--line);stroke:var(--line)}svg .other.x{fill:none}
.legend{display:flex;flex-wrap:wrap;gap:.1rem 1rem;list-style:none;padding:0;margin:.2rem 0;font-size:.85rem}.legend svg{display:inline-block;width:2rem;height:.7rem;vertical-align:middle;margin-right:.3rem}
.bar{display:block;height:.7rem;background:var(--c0);min-width:1px}.range{display:block;width:8rem;height:1rem}
.heat td{text-align:center}.heat thead th:first-child{writing-mode:horizontal-tb;vertical-align:bottom}.heat thead th:not(:first-child){writing-mode:vertical-rl;text-align:left;max-height:10rem}
.thumbs{display:flex;flex-wrap:wrap;gap:.6rem;list-style:none;padding:0}.thumbs li{width:6.5rem;font-size:.8rem;overflow-wrap:anywhere}.thumb{display:block;width:6rem;height:6rem;object-fit:contain;background:var(--panel);image-rendering:pixelated}.wide{min-width:13rem}td.good,td.bad{min-width:8rem}.thumbs span{display:block}
.cases{list-style:none;padding:0;display:grid;gap:1.2rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,30rem),1fr))}.single{grid-template-columns:minmax(0,1fr)!important}.cases .thumbs{gap:.4rem}.cases .thumbs li{width:4.9rem}.cases .thumb{width:4.5rem;height:4.5rem}.cases>li{border-left:.2rem solid var(--line);padding-left:.8rem;min-width:0;break-inside:avoid}.cases .thumbs{margin:.3rem 0 0}.query{padding-right:.6rem;border-right:1px solid var(--line)}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--panel);padding:.6rem;font-size:.85rem}code{overflow-wrap:anywhere}
@media(max-width:30rem){body{padding:.6rem}th,td{padding:.2rem .4rem}h1{font-size:1.3rem}}
@media print{:root{--bg:#fff;--fg:#000;--soft:#444;--line:#bbb;--panel:#f2f2f2;--link:#000}body{max-width:none;font-size:.8rem}nav{display:none}.scroll{overflow:visible}table{font-size:.62rem}th,td{padding:.15rem .3rem}.wide,tbody th{min-width:0}.n{white-space:normal}figure,tr,.verdict{break-inside:avoid}h2,h3{break-after:avoid}}
)";

}  // namespace dinoxx::report
