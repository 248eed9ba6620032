"""Small templates of one expression each: methods, filters, tests and operators with ordinary and odd arguments.

`chat_templates.py` renders each with transformers and stores the text, or that it is refused.
"""

# What the expressions know beside `messages`.
VARIABLES = {
    "u": "ünïcode 東京 🐻",
    "w": "  two words\t\n",
    "d": {"b": 1, "a": [1, 2], "items": "own", "c": {"x": None}},
    "l": [3, 1, 2],
    "objects": [{"n": "b", "v": 2}, {"n": "A", "v": 1}, {"n": "a", "v": 3}, {"v": 0}],
    "f": 1.5,
    "i": -7,
    "t": True,
    "z": None,
}

TEXTS = ["''", "'abc'", "'Hello big world'", "'aXbXc'", "'ǆ ßΣ'", "'  a\\tb\\n c '", "u", "'-12'", "'A'"]

METHODS = {
    "capitalize": [""], "casefold": [""], "lower": [""], "swapcase": [""], "title": [""], "upper": [""],
    "center": ["5", "10, '*'", "-1", "6, ''", "20, '東'"], "ljust": ["6", "6, 'ab'", "9, '.'"], "rjust": ["6", "9, '.'", "'a'"],
    "zfill": ["5", "0", "none"], "expandtabs": ["", "4", "0", "-1", "tabsize=2"],
    "count": ["'b'", "''", "'o', 5", "'o', -3", "'X', 1, 3", "1"], "find": ["'b'", "''", "'', 40", "'o', 5", "'X', -3", "none"],
    "index": ["'b'", "'o'", "''"], "rfind": ["'o'", "'X', 0, 3", "''"], "rindex": ["'b'", "'X'"],
    "startswith": ["'a'", "('H', 'a')", "('H', 1)", "'b', 1", "'', 40", "['a']"], "endswith": ["'c'", "('d', 'c')", "'b', 0, 3", "()"],
    "strip": ["", "none", "'ac'", "'aA-'"], "lstrip": ["", "'aH'"], "rstrip": ["", "'cd'", "1"],
    "removeprefix": ["'a'", "''", "none"], "removesuffix": ["'c'", "'world'", "''"],
    "split": ["", "' '", "'X'", "none, 1", "'X', 1", "sep='X'", "maxsplit=1", "'X', 0", "''", "' ', -1", "0"],
    "rsplit": ["", "' ', 1", "'X', 1", "none, 1", "none, 0", "sep=' ', maxsplit=1"], "splitlines": ["", "true", "keepends=true"],
    "partition": ["' '", "'X'", "'?'", "''"], "rpartition": ["' '", "'X'", "'?'"],
    "replace": ["'a', 'b'", "'', '-'", "'X', ''", "'X', '__', 1", "'a'", "'o', '0', -1", "'b', 1", "'X', 'y', 0"],
    "join": ["['x', 'y']", "'xyz'", "[]", "[1, 2]", "d", "l | map('string')", "none"],
    "isalnum": [""], "isalpha": [""], "isascii": [""], "isdecimal": [""], "isdigit": [""], "isidentifier": [""], "islower": [""],
    "isnumeric": [""], "isprintable": [""], "isspace": [""], "istitle": [""], "isupper": ["", "1"],
    "translate": ["{97: 'Z', 98: none, 99: 100}", "'a'.maketrans('ab', 'xy')", "'a'.maketrans({'a': 'é'})", "'a'.maketrans('a', 'bc')"],
    "nothing": [""], "__len__": [""],
}

FORMATS = [
    "'{}'.format(1)", "'{} {}'.format(1)", "'{0} {1} {0}'.format('a', 'b')", "'{} {0}'.format(1)", "'{a}'.format(a=1)", "'{a}'.format(b=1)",
    "'{:5}|{:<5}|{:>5}|{:^5}|'.format('a', 'b', 'c', 'd')", "'{:*^7}'.format('ab')", "'{:.2}'.format('abc')", "'{:05}'.format(3)",
    "'{:05}'.format('ab')", "'{:=5}'.format('ab')", "'{:+d} {: d} {:-d}'.format(1, 2, 3)", "'{:,}'.format(1234567)", "'{:_}'.format(1234567)",
    "'{:010,}'.format(1234)", "'{:04,}'.format(123)", "'{:x} {:#x} {:X} {:o} {:#b} {:c}'.format(255, 255, 255, 8, 5, 9731)",
    "'{:_x}'.format(1234567)", "'{:,x}'.format(1234567)", "'{:.2f} {:.0f} {:.1f}'.format(3.14159, 2.5, 0.25)", "'{:f}'.format(1)",
    "'{:e} {:.2E}'.format(12345.678, 0.00012)", "'{:g} {:g} {:g} {:g}'.format(1e20, 0.0001, 0.00001, 123456789)", "'{:.3g}'.format(1234.5)",
    "'{:#g} {:#.0f}'.format(1.0, 3.0)", "'{:%} {:.1%}'.format(0.5, 0.1234)", "'{:10.3f}|{:<10.3f}|{:+.1f}'.format(1.5, 1.5, 1.5)",
    "'{:.3}'.format(1234.5)", "'{:.10}'.format(3.0)", "'{:.1}'.format(10.0)", "'{:5}'.format(1.0)", "'{:n}'.format(1234)", "'{:z.0f}'.format(-0.1)",
    "'{:d}'.format(1.5)", "'{:s}'.format(1)", "'{:d}'.format('a')", "'{:.2d}'.format(1)", "'{:q}'.format(1)", "'{:5}'.format(true)", "'{}'.format(true)",
    "'{:5}'.format([1])", "'{}'.format([1, 'a'])", "'{:>5}'.format(none)", "'{}'.format(none)", "'{!r} {!s}'.format('a', 'b')", "'{!x}'.format(1)",
    "'{!r:>6}'.format('a')", "'{0[1]} {0[-1]}'.format([1, 2])", "'{0.real} {0.nothing}'.format(1)", "'{0[a]}'.format({'a': 5})", "'{d[b]}'.format(d=d)",
    "'{:{}}'.format('a', 5)", "'{:{w}.{p}f}'.format(3.14159, w=8, p=2)", "'{:{:{}}}'.format(1, 2, 3)", "'{{}} {{{}}}'.format(1)", "'{'.format()",
    "'}'.format()", "'{0'.format(1)", "'{}'.format(nothing)", "'{:5}'.format(nothing)", "'{.x}'.format(1)", "'{a.b}'.format(a={'b': 2})",
    "'{a}'.format_map({'a': 1})", "'{b}'.format_map({'a': 1})", "'{}'.format_map({'a': 1})", "'{:,}'.format(1234567.891)", "'{:,.1f}'.format(-1234567.891)",
    "'{:08.1f}'.format(-3.14159)", "'{:<08}'.format(5)", "'{:inf}'.format(1)", "'{:f} {:05}'.format(f * 1e308 * 10, -f * 1e308 * 10)", "'{:é>5}'.format('a')",
    "'%s' % 'a'", "'%s %s' % ('a', 1)", "'%s' % ('a',)", "'%s %s' % 'a'", "'%s' % ('a', 'b')", "'a' % ()", "'a' % 1", "'a' % {}", "'a' % []",
    "'%d %i %u' % (1, 2.9, true)", "'%d' % 'a'", "'%5d|%-5d|%05d|%+d|% d' % (1, 2, 3, 4, 5)", "'%x %X %o %#x %#o' % (255, 255, 8, 255, 8)",
    "'%x' % 1.5", "'%f %.2f %.0f' % (1, 3.14159, 2.5)", "'%e %.1E' % (12345.678, 0.00012)", "'%g %g %g' % (1e20, 0.0001, 1234567)",
    "'%c%c' % (97, 'b')", "'%c' % 'ab'", "'%%' % ()", "'%5%|' % ()", "'%r %r' % ('a', 1.0)", "'%.2s|%5.1s|' % ('abc', 'abc')",
    "'%*d|%-*d|%.*f' % (5, 1, 5, 2, 1, 2.55)", "'%(a)s %(b)05.1f' % {'a': 1, 'b': 2.25}", "'%(a)s' % {'b': 1}", "'%(a)s' % 1",
    "'%(a)s %s' % {'a': 1}", "'%s' % {'a': 1}", "'%s' % [1, 2]", "'%s' % none", "'%s' % nothing", "'a' % nothing", "'%s %(a)s' % {'a': 1}", "'%%' % 1",  "'%q' % 1", "'%' % ()", "'%ld %hd' % (1, 2)",
    "'%#.0f %#g' % (3.0, 3.0)", "'%+.1e' % 0.0", "'%s' % u", "'%-10s|' % u", "'%5.3d' % 7", "'%05s' % 'a'",
    "'%s %s' | format('a', 1)", "'%(a)s' | format(a=1)", "'%s' | format(1, a=2)", "1 | format(2)",
]

OPERATORS = [
    "7 // 2", "-7 // 2", "7 // -2", "7 % 3", "-7 % 3", "7 % -3", "7.5 // 2", "-7.5 // 2", "-7.5 % 2", "7.5 % -2", "7 / 2", "6 / 2", "1 / 3", "2 / 0",
    "2 // 0", "2 % 0", "2.0 / 0", "2 ** 10", "2 ** -1", "2 ** 0.5", "2 ** 3 ** 2", "(-8) ** 2", "-2 ** 2", "0 ** 0", "0 ** -1", "2 ** 100", "1 + true",
    "true + true", "true * 'a'", "-true", "+true", "- -1", "+-1", "1 + 1.0", "0.1 + 0.2", "1e20", "1e16", "1e15", "123456789012345678", "1e-4", "1e-5",
    "1e-7", "1.0", "-0.0", "1e400", "-1e400", "1e400 - 1e400", "5e-324", "1.7976931348623157e308", "100000000000000000000000", "1_000", "0x1F", "0b101",
    "0o17", "1.5e3", "12 .real", "1.real", "'a' + 'b'", "'a' + 1", "1 + 'a'", "'a' * 3", "3 * 'a'", "'a' * -1", "'a' * 1.0", "'a' * 'b'", "[1] + [2]",
    "[1] + (2,)", "(1,) + (2,)", "[1, 2] * 2", "(1,) * 3", "{} + {}", "none + 1", "'a' - 'b'", "'a' / 2", "1 ~ 2", "'a' ~ none ~ true ~ 1.0 ~ [1]",
    "1 ~ nothing ~ 2", "'a' 'b'", "1 < 2", "1 < 2 < 3", "1 < 3 < 2", "3 > 2 > 1", "1 == 1.0", "1 == true", "'a' == 'a'", "'a' < 'b'", "'a' < 1", "1 < 'a'",
    "none < 1", "none == none", "none == false", "[1, 2] == [1, 2]", "[1, 2] == (1, 2)", "[1, 2] < [1, 3]", "(1, 2) < (1, 'a')", "(1, 'a') < (1, 2)",
    "[] < [1]", "{'a': 1, 'b': 2} == {'b': 2, 'a': 1}", "{} < {}", "1 != 2", "nothing == nothing", "nothing == none", "nothing != 1", "nothing < 1",
    "nothing + 1", "1 + nothing", "-nothing", "not nothing", "nothing.x", "nothing[0]", "nothing()", "nothing and 1", "nothing or 1", "[nothing]", "(nothing,)",
    "'b' in 'abc'", "1 in 'abc'", "1 in [1, 2]", "1.0 in [1, 2]", "'a' in {'a': 1}", "[1] in {'a': 1}", "1 in 5", "1 in nothing", "nothing in [1]",
    "2 not in [1]", "not 1 in [2]", "1 in range(3)", "1.0 in range(3)", "'' in 'abc'", "1 and 2", "0 or 'x'", "0 and nothing.x", "not 1", "not ''", "not []",
    "1 if true", "1 if false", "1 if false else 2", "(1 if false) is defined", "(1 if false).x", "1 if 0 else 2 if 0 else 3", "[1, 2,]", "(1, 2,)", "(1)",
    "(1,)", "()", "[]", "{}", "{'a': 1,}", "{1: 2, 1.0: 3, true: 4}", "{(1, 2): 3}", "{[1]: 2}", "{none: 1}", "{'a': [1, {'b': none}]}", "1, 2", "1,",
    "'it\\'s'", "['it\\'s']", "['\"']", "['\\'\"']", "['\\n\\t\\x00\\x7f']", "['é\\u200b\\u00a0🐻']", "'\\x41\\u00e9\\101\\q'", "'a\\\\b'", "\"a\\\"b\"", "'\\é'",
    "'abc'[0]", "'abc'[-1]", "'abc'[5]", "'abc'['upper']()", "'abc'[1:]", "'abc'[:-1]", "'abc'[::-1]", "'abcdef'[1:5:2]", "'abcdef'[-2::-2]", "'abc'[::0]",
    "'abc'[5:]", "'abc'['a':]", "'abc'[1.0]", "u[0]", "u[-1]", "u[8:10]", "[1, 2, 3][1:]", "(1, 2, 3)[::-1]", "[1, 2, 3][true]", "[1, 2][9]", "[1, 2]['x']",
    "[1, 2].x", "[1, 2].0", "none[1:]", "d[1:]", "nothing[1:]", "5[0]", "5.x", "d.b", "d['b']", "d.items", "d['items']", "d.items is callable", "d.zzz",
    "d['zzz']", "d.a[1]", "d.a.1", "d.c.x", "d.c.x.y", "d.get('b')", "d.get('zzz')", "d.get('zzz', 5)", "d.get([])", "d.get(key='b')", "d.keys()",
    "d.values()", "d.items()", "d.items() | list", "d.keys() | list", "d | list", "d.copy()", "d.pop('b')", "d.pop", "d.update", "d.update({'q': 1})", "l.append(1)",
    "l.append", "l.copy()", "l.count(1)", "l.index(2)", "l.index(9)", "l.index(2, 1)", "l.index(3, 1)", "(1, 2).count(1)", "(1, 2).index(2)", "l.sort()",
    "d.__class__", "''.__class__.__mro__", "d.fromkeys([1, 2], 0)", "dict.fromkeys('ab')", "dict(a=1, b=2)", "dict([(1, 2), ('a', 'b')])", "dict(d, z=1)",
    "dict(1)", "dict(['ab'])", "dict(['abc'])", "range(3)", "range(1, 7, 2)", "range(3) | list", "range(5, 0, -2) | list", "range(0)", "range(3)[1]", "range(9)[2:5]",
    "range(3).stop", "range(100001)", "range('a')", "range(1.0)", "range(1, 2, 0)", "range(3) + [1]", "range(2) == range(0, 2, 1)", "namespace(a=1)", "namespace(a=1).a",
    "namespace(a=1)['a']", "namespace({'a': 2}).a", "namespace(a=1).b", "namespace(_a=1)", "joiner()()", "joiner('-')", "cycler(1, 2).next()", "cycler(1, 2).current",
    "cycler()", "lipsum(1, false) is string", "raise_exception('no')", "raise_exception(1)", "raise_exception()", "strftime_now('%Y') | length", "strftime_now('%%') ",
    "i.real", "i.imag", "i.numerator", "i.denominator", "i.bit_length()", "f.real", "f.is_integer()", "(2.0).is_integer()", "t.real", "f.hex", "i.nothing", "f.x",
    "'abc'.encode()", "messages[0].role", "messages[0]['content'][:5]", "messages[1]", "messages[1].role", "add_generation_prompt", "tools", "documents", "(1, 2)[0]", "-'a'", "+[]", "- 1.5",
    "not not 1", "1 is number and 2 is number", "-1 is number", "2 ** 3 is number", "1 + 2 | string", "(1 + 2) | string", "-1 | abs", "(-1) | abs", "'a' | upper | lower",
    "'a'.upper().lower()", "('a' ~ 'b').upper()", "'a' ~ 'b'.upper()", "[1, 2] | first + 1", "x.y.z", "d.b.c", "d.b.c.e", "self", "loop", "caller",
]

FILTERS = [
    "-3 | abs", "-3.5 | abs", "'a' | abs", "true | abs", "d | attr('b')", "d | attr('keys') is callable", "'a' | attr('upper') is callable",
    "range(7) | batch(3) | list", "range(7) | batch(3, 0) | list", "[] | batch(3) | list", "range(3) | batch(-1) | list", "range(7) | slice(3) | list",
    "range(7) | slice(3, 'x') | list", "range(2) | slice(4) | list", "range(7) | slice(-1) | list", "'aBC d' | capitalize", "5 | capitalize", "'ab' | center(7) ~ '|'",
    "none | center(7)", "l | count", "5 | count", "nothing | count", "nothing | default", "nothing | default('x')", "'' | default('x')", "'' | default('x', true)",
    "none | d('x')", "none | d('x', boolean=true)", "0 | default(default_value=1, boolean=true)", "d | dictsort", "{'B': 1, 'a': 2, 'C': 0} | dictsort",
    "{'B': 1, 'a': 2, 'C': 0} | dictsort(true)", "{'B': 1, 'a': 2, 'C': 0} | dictsort(false, 'value')", "{'B': 1, 'a': 2} | dictsort(reverse=true)",
    "{'B': 1, 2: 2} | dictsort", "{'B': 1} | dictsort(by='x')", "[1] | dictsort", "'<a href=\"x\">&\\'' | e", "'<' | escape | escape", "'<' | e ~ '<'", "('<' | e) + '<'",
    "'<' + ('<' | e)", "('<' | e) * 2", "('a' | e).upper() + '<'", "('<' | e) | forceescape", "'<' | safe + '<'", "('<' | safe) ~ '<'", "[('<' | safe)]", "5 | e",
    "('<b>' | safe) | string", "('<b>' | safe) | upper", "('<' | safe) == '<'", "'<' | safe is escaped", "'<' is escaped", "('a<' | safe)[1:]", "('a b' | safe).split(' ')",
    "0 | filesizeformat", "1 | filesizeformat", "999 | filesizeformat", "1000 | filesizeformat", "1234567 | filesizeformat", "1024 | filesizeformat(true)",
    "1e30 | filesizeformat", "'5' | filesizeformat", "'a' | filesizeformat", "-5 | filesizeformat", "l | first", "[] | first", "'abc' | first", "d | first", "nothing | first",
    "5 | first", "'1.5' | float", "'a' | float", "'a' | float(7)", "none | float", "nothing | float", "'1_0' | float", "' 1e3 ' | float", "'inf' | float", "'nan' | float",
    "'0x1' | float", "objects[:3] | groupby('n')", "objects[:3] | groupby('n', case_sensitive=true)", "objects | groupby('n', default='a')", "objects | groupby('n')",
    "(objects[:3] | groupby('n'))[0].grouper", "(objects[:3] | groupby('n'))[0].list | length", "objects[:3] | groupby", "'a\\nb\\n\\nc' | indent", "'a\\nb' | indent(2)",
    "'a\\nb' | indent(2, true)", "'a\\n\\nb' | indent(2, false, true)", "'a\\n\\nb' | indent(width=1, first=true, blank=true)", "'a\\nb' | indent('> ')", "5 | indent",
    "'' | indent", "'a\\r\\nb' | indent", "'12' | int", "'12.9' | int", "'a' | int", "'a' | int(5)", "'ff' | int(base=16)", "'0xff' | int(0, 16)", "'0b11' | int(base=2)",
    "'0b11' | int(base=0)", "12.9 | int", "-12.9 | int", "none | int", "nothing | int", "true | int", "'1_000' | int", "' 12 ' | int", "'' | int", "1e400 | int", "'inf' | int",
    "'-7' | int", "'+7' | int", "'- 7' | int", "'1__0' | int", "'12abc' | int(3)", "'9' | int(1, 8)", "[] | int", "d | items | list", "nothing | items | list", "l | items | list",
    "l | items", "l | join", "l | join(', ')", "l | join(0)", "objects | join(',', attribute='v')", "objects | join(',', 'n')", "'abc' | join('-')", "5 | join", "d | join('|')",
    "[1, none, 'a', true] | join('-')", "nothing | join", "l | last", "[] | last", "'abc' | last", "d | last", "range(3) | last", "l | map('string') | last", "5 | last",
    "l | length", "'ünï' | length", "d | length", "none | length", "nothing | length", "d.items() | length", "l | map('string') | length", "'abc' | list", "5 | list", "none | list",
    "nothing | list", "d | list", "'ABC' | lower", "5 | lower", "none | upper", "l | map('string') | list", "l | map('string')", "l | map('nofilter') | list", "l | map('nofilter') is iterable",
    "objects | map(attribute='v') | list", "objects | map(attribute='n', default='?') | list", "objects | map(attribute='n') | list", "objects | map(attribute='n.x') | list",
    "[[1, 2], [3, 4]] | map(attribute=1) | list", "[[1, 2], [3, 4]] | map(attribute='0') | list", "['a b', 'c'] | map('replace', ' ', '_') | list", "['a'] | map('default', x=1) | list",
    "l | map | list", "none | map('upper') | list", "5 | map('upper') | list", "l | map(attribute='x', y=1) | list", "['a'] | map(upper) | list", "l | max", "l | min", "[] | max", "['b', 'A'] | min",
    "['b', 'A'] | min(true)", "['b', 'A'] | max(case_sensitive=true)", "[1, 'a'] | max", "objects | max(attribute='v')", "d | max", "[1, 1.0] | max", "none | min", "[1, 'a'] | pprint", "'a' | pprint",
    "l | reject | list", "[0, 1, '', 'a'] | reject | list", "l | reject('odd') | list", "l | reject('gt', 1) | list", "objects | rejectattr('n') | list", "objects | rejectattr('v', 'gt', 1) | list",
    "'aXbX' | replace('X', '-')", "'aXbX' | replace('X', '-', 1)", "5 | replace(5, 6)", "'a' | replace('a')", "none | replace('o', '0')", "'aXbX' | replace('X', '-', count=1)", "'abc' | reverse",
    "l | reverse | list", "l | reverse", "(1, 2) | reverse | list", "d | reverse | list", "l | map('string') | reverse", "5 | reverse", "2.5 | round", "3.5 | round", "2.675 | round(2)", "42 | round",
    "1234 | round(-2)", "1250 | round(-2)", "1350 | round(-2)", "1234.5 | round(-2)", "2.1 | round(method='ceil')", "2.9 | round(0, 'floor')", "2.15 | round(1, 'ceil')", "42 | round(0, 'ceil')", "'a' | round", "1.5 | round(method='x')",
    "true | round", "1.5 | round(1.0)", "0.125 | round(2)", "[0, 1, '', 'a', none] | select | list", "l | select('odd') | list", "l | select('notest') | list", "l | select('in', [1, 2]) | list", "l | select",
    "[1] | select | list and true", "([] | select) and true", "objects | selectattr('n') | list", "objects | selectattr('n', 'defined') | list", "objects | selectattr('v', '>', 1) | map(attribute='v') | list",
    "objects | selectattr | list", "objects | selectattr('n', 'equalto', 'a') | list | length", "['a'] | select('string') | first", "l | sort", "['b', 'A', 'a'] | sort", "['b', 'A', 'a'] | sort(case_sensitive=true)",
    "l | sort(true)", "l | sort(reverse=true)", "[1, 'a'] | sort", "[1, 2.5, true] | sort", "objects[:3] | sort(attribute='n')", "objects[:3] | sort(attribute='n,v')", "objects | sort(attribute='n')", "objects | sort(attribute='v') | map(attribute='v') | list",
    "d | sort", "'cab' | sort", "5 | sort", "[none, 1] | sort", "[[2, 1], [1, 5]] | sort", "5 | string", "none | string", "[1.0] | string", "nothing | string", "'<p>a  <b>b</b>\\n c</p><!-- x -->&amp;' | striptags",
    "l | sum", "[] | sum", "objects | sum(attribute='v')", "l | sum(start=10)", "[[1], [2]] | sum(start=[])", "['a'] | sum", "['a'] | sum(start='')", "[1, 'a'] | sum", "[1.5, 2] | sum", "'hello big-world (a)x' | title", "\"it's foo's\" | title",
    "'ǆ' | title", "5 | title", "d | tojson", "d | tojson(indent=2)", "d | tojson(2)", "d | tojson(true)", "d | tojson(sort_keys=true)", "d | tojson(separators=(',', ':'))", "u | tojson", "u | tojson(ensure_ascii=true)", "[1.0, 1e20, 1e400, none, true] | tojson",
    "'<a>&\\'\"\\\\\\n\\t\\x01\\x7f' | tojson", "(1, 2) | tojson", "nothing | tojson", "[nothing] | tojson", "{1: 2, none: 3, true: 4, 1.5: 5} | tojson", "{(1, 2): 3} | tojson", "range(3) | tojson", "d.items() | tojson", "[] | tojson(indent=2)", "{} | tojson(indent=2)",
    "[[], {}, [1]] | tojson(indent=1)", "d | tojson(indent='--')", "d | tojson(indent=0)", "d | tojson(indent=none)", "{'b': 1, 1: 2} | tojson(sort_keys=true)", "namespace(a=1) | tojson", "d | tojson(foo=1)", "l | map('string') | tojson", "' a ' | trim ~ '|'",
    "'xxaxx' | trim('x')", "5 | trim", "none | trim", "' a ' | trim(chars=' ')", "'foo bar baz qux' | truncate(9)", "'foo bar baz qux' | truncate(9, true)", "'foo bar baz qux' | truncate(11)", "'foo bar baz qux' | truncate(11, false, '...', 0)", "'foo bar' | truncate(2)",
    "'foo bar baz qux' | truncate(9, end='…', leeway=0)", "l | truncate(9)", "['a', 'A', 'b'] | unique | list", "['a', 'A', 'b'] | unique(true) | list", "[1, 1.0, true, 2] | unique | list", "[[1], [1]] | unique | list", "objects | unique(attribute='v') | list | length",
    "'abc' | upper", "'a b&c/d=ü' | urlencode", "{'a b': 'c/d', 'e': 1} | urlencode", "[('a', 'b')] | urlencode", "5 | urlencode", "none | urlencode", "'foo bar_baz-qux é' | wordcount", "5 | wordcount", "'foo bar baz' | wordwrap(7)", "'foo barbazqux' | wordwrap(5)",
    "'foo barbazqux' | wordwrap(5, false)", "'a b\\n\\nc d' | wordwrap(3)", "'aa bb cc' | wordwrap(5, wrapstring='|')", "'   a b' | wordwrap(3)", "'a-b c' | wordwrap(3, break_on_hyphens=false)", "'ab' | wordwrap(0)", "{'class': 'a b', 'x': none, 'id': '<'} | xmlattr",
    "{'a': 1} | xmlattr(false)", "{'a b': 1} | xmlattr", "{} | xmlattr", "'a' | nofilter", "'a' | upper(1)", "'a' | upper.lower", "l | first(1)", "l | join(1, 2, 3)", "l | join(x=1)",
]

VALUES = ["1", "0", "-3", "1.5", "2.0", "''", "'a'", "'A'", "none", "true", "false", "[]", "(1, 2)", "d", "range(2)", "nothing", "'a'.upper", "namespace()", "l | map('string')", "'upper'", "cycler(1)", "joiner()"]
TESTS = [
    "boolean", "callable", "defined", "even", "odd", "false", "true", "filter", "test", "float", "integer", "iterable", "lower", "upper", "mapping", "none", "number",
    "sequence", "string", "undefined", "escaped", "not defined", "notest", "divisibleby 2", "eq 1", "gt 0", "in [1, 'a']", "sameas none", "sameas true", "ne(1)", "lessthan(2)",
]

BLOCKS = [
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }};{% endfor %}",
    "{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }}{% endfor %}", "{% for x in l %}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for x in l %}{{ loop.cycle() }}{% endfor %}",
    "{% for x in [1, 1, 2, 2, 1] %}{{ loop.changed(x) }}{% endfor %}", "{% for x in l %}{{ loop }}{% endfor %}", "{% for x in l if x > 1 %}{{ x }}{{ loop.index }}/{{ loop.length }}{{ loop.last }}{% endfor %}",
    "{% for x in l if x > 9 %}{{ x }}{% else %}none{% endfor %}", "{% for x in [] %}{% else %}empty{% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }},{% endfor %}", "{% for k, v in [(1, 2), (3, 4)] if v > 2 %}{{ k }}{{ v }}{% endfor %}",
    "{% for k in d %}{{ k }}{% endfor %}", "{% for c in u %}{{ c }}.{% endfor %}", "{% for a, b in [(1, 2, 3)] %}{% endfor %}", "{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for x in 5 %}{% endfor %}", "{% for x in none %}{% endfor %}",
    "{% for x in nothing %}{% else %}e{% endfor %}", "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}", "{% for x in l %}{{ x }}{% if x == 1 %}{% break %}{% endif %}{% else %}e{% endfor %}", "{% break %}", "{% for x in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
    "{% for x in [[1, [2]], [3]] recursive %}{{ loop.depth }}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{% endif %}{% endfor %}", "{% for x in l %}{{ loop(x) }}{% endfor %}", "{% set x = 1 %}{% for y in l %}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}",
    "{% set ns = namespace(n=0) %}{% for y in l %}{% set ns.n = ns.n + y %}{% endfor %}{{ ns.n }} {{ ns }}", "{% set q.a = 1 %}", "{% set d.a = 1 %}", "{% set ns = namespace() %}{% set ns.a, ns.b = 1, 2 %}{{ ns.a }}{{ ns.b }}", "{% set ns = namespace() %}{% set ns._a = 1 %}",
    "{% set a, b = 1, 2 %}{{ b }}{{ a }}", "{% set a = 1, 2 %}{{ a }}", "{% set a %}x{{ 1 }}{% endset %}{{ a }}", "{% set a | upper %}x{% endset %}{{ a }}", "{% set a, b %}xy{% endset %}{{ a }}", "{% set true = 1 %}", "{% set a.b.c = 1 %}", "{% set a[0] = 1 %}", "{% set loop = 1 %}{{ loop }}",
    "{% for x in l %}{% set loop = 1 %}{% endfor %}", "{% if true %}{% set x = 1 %}{% endif %}{{ x }}", "{% if 0 %}a{% elif 1 %}b{% else %}c{% endif %}", "{% if nothing %}a{% elif none %}b{% else %}c{% endif %}", "{% if l | select('gt', 9) %}always{% endif %}", "{% if %}{% endif %}", "{% if 1 %}",
    "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% with a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}{% endwith %}", "{% with %}x{% endwith %}", "{% filter upper %}a{{ 'b' }}{% endfilter %}", "{% filter replace('a', 'b') | upper %}aa{% endfilter %}", "{% filter nofilter %}a{% endfilter %}",
    "{% macro m(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(b=5, a=4) }}{{ m() }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=1) }}", "{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, x=4) }}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}body{% endcall %}", "{% macro m() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b) m() %}{{ a }}-{{ b }}{% endcall %}", "{% macro m() %}x{% endmacro %}{% call m() %}body{% endcall %}", "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}", "{% macro m(a=1, b) %}{% endmacro %}",
    "{% macro m(a, a) %}{% endmacro %}", "{% macro m() %}{{ y }}{% endmacro %}{% set y = 1 %}{{ m() }}{% set y = 2 %}{{ m() }}", "{% macro m(n) %}{{ n }}{% if n %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(3) }}", "{{ m() }}{% macro m() %}{% endmacro %}", "{% macro m() %}{% endmacro %}{{ m }}{{ m.name }}{{ m.arguments }}",
    "{% macro m(a) %} {{ a }} {% endmacro %}{{ m(1) | trim }}{{ m(2) ~ '|' }}{{ m(1) is string }}", "{% for x in l %}{% macro m() %}{{ x }}{{ loop.index }}{% endmacro %}{{ m() }}{% endfor %}", "{% macro m() %}{% set x = 5 %}{% endmacro %}{{ m() }}{{ x }}", "{% set x = 1 %}{% macro m() %}{% set x = 2 %}{{ x }}{% endmacro %}{{ m() }}{{ x }}",
    "a\r\nb\rc\n", "a\n\n", "{{ 'a\r\nb' }}", "{% if 1 %}\na\n{% endif %}\nb", "  {% if 1 %}  \n  a\n  {% endif %}\n b", "a  {%- if 1 %}  b  {%- endif -%}  c", "a {{- 1 -}} b", "  {%+ if 1 %}x{% endif %}", "a\n  {# c #}\n b", "a {#- c -#} b", "{% raw %}{{ x }}{% endraw %}", " {% raw -%} {{ x }} {%- endraw %} y", "  {% raw %}\n{% endraw %}\nx",
    "{% if 1 +%}\na{% endif %}", "x{% if 1 %}\n\n\na{% endif %}", "{{ {'a': {'b': 1}} }}", "{{ {'a': {'b': 1}}}}", "{{ '}}' }}", "{% set x = '%}' %}{{ x }}", "{{ \"{{\" }}", "a { b } c {", "{{", "{%", "{#", "{% raw %}", "}}", "%}", "{{ }}", "{{ 1 2 }}", "{{ 1 + }}", "{{ (1 }}", "{{ 1) }}", "{{ [1) }}", "{{ a..b }}", "{{ a! }}", "{{ 'a }}", "{{ $ }}",
    "{% unknown %}", "{% endif %}", "{% for %}", "{% for x %}", "{% for x in l %}", "{% else %}", "{% include 'x' %}", "{% extends 'x' %}", "{% import 'x' as y %}", "{% from 'x' import y %}", "{% if 0 %}{% include 'x' %}{% endif %}ok", "{% block a %}x{% endblock %}", "{% set y = 1 %}{% block a %}{{ y }}{% endblock %}", "{% for y in l %}{% block a %}{{ y }}{% endblock %}{% endfor %}",
    "{% for y in l %}{% block a scoped %}{{ y }}{% endblock %}{% endfor %}", "{% block a %}{% endblock %}{% block a %}{% endblock %}", "{% do 1 %}", "{% print 1, 2 %}", "{% autoescape false %}<{{ '<' }}{% endautoescape %}", "{% trans %}a{% endtrans %}", "{% debug %}", "{% set x = 1 -%}   {{ x }}", "{{ x if x is defined else 'u' }}", "{% if x is not defined %}u{% endif %}",
    "{% generation %}a{% set x = 1 %}{% endgeneration %}{{ x }}", "{% set x = 1 %}{% generation %}{{ x }}{% endgeneration %}", "{% for x in l %}{% generation %}{{ x }}{{ loop.index }}{% endgeneration %}{% endfor %}", "{% for x in l %}{% generation %}{% break %}{% endgeneration %}{% endfor %}",
    "{% for x in l %}{% break %}{% else %}e{% endfor %}", "{% for x in l %}{% continue %}{% else %}e{% endfor %}", "{% generation %}{{ varargs }}{{ kwargs }}{{ caller }}{% endgeneration %}",
    "{% set j = joiner(', ') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}", "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.current }}", "{% set g = l | map('string') %}{{ g | list }}{{ g | list }}", "{% set g = l | map('string') %}{{ g | first }}{{ g | list }}",
    "{% set s = 'a' %}{% set s = s ~ 'b' %}{{ s }}", "{% for x in range(3) %}{% for y in range(x) %}{{ loop.index }}{{ loop.length }}{% endfor %}{{ loop.index }}{% endfor %}", "{% for x in l %}{% for y in l %}{{ y }}{% endfor %}{{ loop.last }}{% endfor %}", "{% for x in l %}{% else %}{{ loop }}{% endfor %}", "{{ loop is defined }}",
    "{% if true and nothing | nofilter %}{% endif %}", "{% if false %}{{ 1 | nofilter }}{% endif %}ok", "{% for x in [] %}{{ 1 | nofilter }}{% endfor %}", "{{ 1 if true else 1 | nofilter }}", "{{ 'nofilter' is filter }}{{ 'upper' is filter }}{{ 'defined' is test }}", "{{ range.__name__ }}x", "{{ (l, d)[0] }}", "{{ messages | length }}{{ messages[-1].content }}",
    "{% for m in messages %}{{ m.role ~ ':' ~ m.content }}{% endfor %}", "{{ f(1) }}", "{{ d['b'](1) }}", "{{ 'abc'.upper }}x", "{{ [].append }}x", "{{ l | first is number }}", "{{ *l }}", "{{ dict(**d) }}", "{{ '{}{}'.format(*l[:2]) }}", "{{ namespace(**{'a': 1}).a }}", "{{ dict(a=1, a=2) }}", "{{ 'a'.join(*[l]) }}", "{{ range(*[1, 3]) | list }}", "{{ 'a'.center(width=5) }}",
]


def expressions():
    """All templates, each once."""
    out = []
    for name, arguments in METHODS.items():
        texts = TEXTS if arguments == [""] else TEXTS[:7]
        out += [f"{{{{ {text}.{name}({given}) }}}}" for given in arguments for text in texts]
    out += [f"{{{{ {expression} }}}}" for expression in FORMATS + OPERATORS + FILTERS]
    out += [f"{{{{ ({value}) is {test} }}}}" for test in TESTS for value in VALUES]
    return list(dict.fromkeys(out + BLOCKS))
