"""Part annotations that exist, as MRES JSONL with templated texts: no model is asked.

A form (`paco`, `pascal_part`, ...) reads files into pictures of regions (`regions`);
`texts` says what each region is called, `output` writes the lines.
"""
