"""The data engine: pictures with boxes in, masks with sentences out.

The paper's third system (section 4), which was not released. Stages read and write
records of pictures (`record`); models stand behind roles (`roles`), each in a file of
`backends`, which imports torch only when it is loaded.
"""
