"""The small world: procedural clips whose right continuation is known in closed form.

It leaves training to `vdmini_compress.teachers` and scoring of whole models to `vdmini_compress.evaluate`.
"""
