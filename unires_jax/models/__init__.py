"""The model: layers, backbones, fusion, and UniRES itself.

`layers` are modules; what they compute has a textbook form (`plain`) and faster ones
(`fast`, `tpu`, `gpu`), chosen in `forms`. Nothing here knows data, a loss or an
optimizer.
"""
